//! What ciphertexts of every release show of themselves.

mod support;

use std::collections::BTreeSet;

use kes_crypto::{Form, KeyType, Layout, base64};
use support::{file, key, list, must_succeed, text};

#[test]
fn every_ciphertext_that_opens_is_named_by_its_generation() {
    let file = file(include_str!("vectors/ciphertexts.json"));
    let mut seen = BTreeSet::new();
    for vector in list(&file, "vectors", 52).iter().filter(|vector| must_succeed(vector)) {
        let id = text(vector, "id");
        let form = Form::of(&base64::decode(text(vector, "ciphertext")).expect(id));
        let layout = match text(vector, "generation") {
            "G4" => Layout::Raw,
            "G3" => Layout::MessagePack,
            _ => Layout::Json,
        };
        assert_eq!(form.layout, layout, "{id}");
        assert_eq!(form.label.is_none(), form.layout == Layout::Raw, "{id}");
        if let Some(label) = form.label.filter(|_| text(vector, "key_type").is_empty()) {
            assert_eq!(label.algorithm(), text(vector, "cipher"), "{id}");
        }
        seen.insert(form.generation);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["G0", "G1", "G2", "G3a", "G3c", "G4"]);
}

#[test]
fn envelopes_tell_whose_key_made_them() {
    let file = file(include_str!("vectors/ciphertexts.json"));
    let mut ids = 0;
    for vector in list(&file, "vectors", 52).iter().filter(|vector| must_succeed(vector)) {
        let form = Form::of(&base64::decode(text(vector, "ciphertext")).expect("base64"));
        if let Some(own) = form.key_id {
            ids += usize::from(own == Form::key_id(&key(vector)));
        }
    }
    assert!(ids > 5, "{ids}");
}

#[test]
fn what_is_not_of_kes_is_told_apart() {
    let file = file(include_str!("vectors/minio-static-key.json"));
    for vector in file["legacy_dare"].as_array().expect("a list of vectors") {
        let form = Form::of(&base64::decode(text(vector, "sealed")).expect("base64"));
        assert_eq!((form.layout, form.generation), (Layout::Dare, ""));
    }
    assert_eq!(Form::of(b"vault:v1:AAAA").layout, Layout::VaultTransit);
    for raw in [&b""[..], b"{", b"\x95", b"{not json", &[0x95; 80]] {
        let form = Form::of(raw);
        assert_eq!((form.layout, form.generation, form.label), (Layout::Raw, "G4", None::<KeyType>));
    }
}
