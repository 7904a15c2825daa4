//! Stored keys of several generations of MinIO KES, some of the vectors of `kes-crypto`: each was read by MinIO KES at
//! commit 63649d0 (2025-05-26) with this outcome, and those marked canonical are byte for byte what it writes.

pub(super) struct Record {
    pub(super) name: &'static str,
    pub(super) stored: &'static str,
    /// In hex, as is the HMAC key.
    pub(super) key: &'static str,
    pub(super) hmac_key: Option<&'static str>,
    pub(super) canonical: bool,
}

pub(super) const RECORDS: &[Record] = &[
    Record {
        name: "pb-aes",
        stored: "CiQKINUOF15HyXq30aH86qI5/LVz5HlhxRlVpeAew6W+Oz8rEAESJAogR0iEBn4gUbCJZuQuUVzFzJUxdfdn4kJI13bktLljN5oQARoLCJajxb4GEJWa7zoiQDhkNWY4ZWQxOTZjM2RlMWVjODc1M2Q0OWYzMmFmNDkwMWVjNTlkMTZhYTNhMzJlNWMyYjQwZjIzNzkwYTIwNmI=",
        key: "d50e175e47c97ab7d1a1fceaa239fcb573e47961c51955a5e01ec3a5be3b3f2b",
        hmac_key: Some("474884067e2051b08966e42e515cc5cc953175f767e24248d776e4b4b963379a"),
        canonical: true,
    },
    Record {
        name: "pb-chacha",
        stored: "CiQKIKoXMmzpm1KMStlI5cwY9A/oLOs0yUN0sHMNcxnEhDpoEAISJAogzFkVDGhUZgyg49vSElS4wrxwevttMS1K/5waz1sm55wQARoICJajxb4GEAUiQDhkNWY4ZWQxOTZjM2RlMWVjODc1M2Q0OWYzMmFmNDkwMWVjNTlkMTZhYTNhMzJlNWMyYjQwZjIzNzkwYTIwNmI=",
        key: "aa17326ce99b528c4ad948e5cc18f40fe82ceb34c94374b0730d7319c4843a68",
        hmac_key: Some("cc59150c6854660ca0e3dbd21254b8c2bc707afb6d312d4aff9c1acf5b26e79c"),
        canonical: true,
    },
    Record {
        name: "pb-no-creator",
        stored: "CiQKIPMUJEzwWCRQXzRUwiPd7a9ghDwsEX+77NuuPbA4NNBxEAESJAogz3f4my9xZxntTccrsNg/SThZnt00eCz8gpkHqcqpX6EQARoMCICByKwGEIDKte4B",
        key: "f314244cf05824505f3454c223ddedaf60843c2c117fbbecdbae3db03834d071",
        hmac_key: Some("cf77f89b2f716719ed4dc72bb0d83f4938599edd34782cfc829907a9caa95fa1"),
        canonical: true,
    },
    Record {
        name: "pb-zero-time",
        stored: "CiQKIJpLVY0uq6259yfSEckRmKuymR1HELkDlwOCK3fwVBO4EAESJAogiZiUtChj/IImeocpCHhye5n4XphlcMcB7PdzWVdTmN8QARoLCICSuMOY/v///wEiQDhkNWY4ZWQxOTZjM2RlMWVjODc1M2Q0OWYzMmFmNDkwMWVjNTlkMTZhYTNhMzJlNWMyYjQwZjIzNzkwYTIwNmI=",
        key: "9a4b558d2eabadb9f727d211c91198abb2991d4710b9039703822b77f05413b8",
        hmac_key: Some("899894b42863fc82267a87290878727b99f85e986570c701ecf77359575398df"),
        canonical: true,
    },
    Record {
        name: "pb-newline-inside",
        stored: "CiQKIK1/sRIUCKZVf61pMv66bB7O2Dd4rBJQFk4Z7rcIq51QEAESJAogmXt0\r\n/xxMhU97e2FYUXS6FDxVZUtGM2KqoZfT2/xG43kQARoGCICByKwGIkA4ZDVmOGVkMTk2YzNkZTFlYzg3NTNkNDlmMzJhZjQ5MDFlYzU5ZDE2YWEzYTMyZTVjMmI0MGYyMzc5MGEyMDZi",
        key: "ad7fb1121408a6557fad6932feba6c1eced83778ac1250164e19eeb708ab9d50",
        hmac_key: Some("997b74ff1c4c854f7b7b61585174ba143c55654b463362aaa197d3dbfc46e379"),
        canonical: false,
    },
    Record {
        name: "json-bytes",
        stored: "{\"bytes\":\"8tysrjJZlW9q0hYPd368L61hiUCm4ju+UMyFItw71SY=\"}",
        key: "f2dcacae3259956f6ad2160f777ebc2fad618940a6e23bbe50cc8522dc3bd526",
        hmac_key: None,
        canonical: false,
    },
    Record {
        name: "json-v0192-chacha",
        stored: "{\"bytes\":\"8tysrjJZlW9q0hYPd368L61hiUCm4ju+UMyFItw71SY=\",\"algorithm\":\"XCHACHA20-POLY1305\",\"created_at\":\"2023-03-14T23:42:00.729167884Z\",\"created_by\":\"8d5f8ed196c3de1ec8753d49f32af4901ec59d16aa3a32e5c2b40f23790a206b\"}",
        key: "f2dcacae3259956f6ad2160f777ebc2fad618940a6e23bbe50cc8522dc3bd526",
        hmac_key: None,
        canonical: false,
    },
    Record {
        name: "json-v0223-aes",
        stored: "{\"version\":\"v1\",\"bytes\":\"8tysrjJZlW9q0hYPd368L61hiUCm4ju+UMyFItw71SY=\",\"algorithm\":\"AES256-GCM_SHA256\",\"created_at\":\"2023-03-14T23:42:00.729167884Z\",\"created_by\":\"8d5f8ed196c3de1ec8753d49f32af4901ec59d16aa3a32e5c2b40f23790a206b\"}",
        key: "f2dcacae3259956f6ad2160f777ebc2fad618940a6e23bbe50cc8522dc3bd526",
        hmac_key: None,
        canonical: false,
    },
    Record {
        name: "json-v0230-chacha",
        stored: "{\"version\":\"v1\",\"bytes\":\"8tysrjJZlW9q0hYPd368L61hiUCm4ju+UMyFItw71SY=\",\"algorithm\":\"ChaCha20\",\"created_at\":\"2023-03-14T23:42:00.729167884Z\",\"created_by\":\"8d5f8ed196c3de1ec8753d49f32af4901ec59d16aa3a32e5c2b40f23790a206b\"}",
        key: "f2dcacae3259956f6ad2160f777ebc2fad618940a6e23bbe50cc8522dc3bd526",
        hmac_key: None,
        canonical: false,
    },
];
