//! What a mistyped word probably stands for.

/// The candidate that differs least from `word`, if it is close enough to be meant: the same but for case and `-`/`_`,
/// or at most a third of its letters apart.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    candidates
        .into_iter()
        .map(|candidate| (distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3) && *distance < folded.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn fold(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// How many characters must be inserted, removed, replaced or swapped with their neighbour to turn one word into the
/// other. Words of more than 200 bytes are not compared: the work grows with the product.
pub(crate) fn distance(one: &str, other: &str) -> usize {
    if one.len().max(other.len()) > 200 {
        return usize::MAX;
    }
    let one: Vec<char> = one.chars().collect();
    let other: Vec<char> = other.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=one.len() {
        let mut row = vec![i; other.len() + 1];
        for j in 1..=other.len() {
            let replaced = above[j - 1] + usize::from(one[i - 1] != other[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word() {
        let words = ["identity", "keystore", "endpoint", "auth", "fs"];
        for (word, meant) in [("auht", Some("auth")), ("identiy", Some("identity")), ("keyStore", Some("keystore"))] {
            assert_eq!(nearest(word, words), meant, "{word}");
        }
        assert_eq!(nearest("end_point", words), Some("endpoint"));
        assert_eq!(nearest("FS", words), Some("fs"));
        assert_eq!(nearest("xy", words), None);
        assert_eq!(nearest("TLS", words), None);
        assert_eq!(nearest("", words), None);
    }

    #[test]
    fn distances() {
        for (one, other, apart) in [
            ("deny", "deny", 0),
            ("dney", "deny", 1),
            ("allows", "allow", 1),
            ("", "ab", 2),
            ("identity", "identities", 3),
        ] {
            assert_eq!((distance(one, other), distance(other, one)), (apart, apart), "{one} {other}");
        }
    }
}
