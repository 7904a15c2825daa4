use super::*;

fn tree(text: &str) -> Node {
    parse(text).unwrap_or_else(|fault| panic!("{text}: {}", fault.text)).expect("a document")
}

fn fault(text: &str) -> String {
    parse(text).err().unwrap_or_else(|| panic!("{text}: no fault")).text
}

/// The scalar at a dotted path, with its line.
fn at(node: &Node, path: &str) -> (String, usize) {
    let found = path.split('.').fold(node, |node, key| match &node.value {
        Value::Mapping(mapping) => mapping.find(key).unwrap_or_else(|| panic!("no {key} in {path}")),
        Value::Sequence(items) => &items[key.parse::<usize>().unwrap()],
        Value::Scalar(_) => panic!("{path} leads through a scalar"),
    });
    (found.as_scalar().unwrap().text.to_string(), found.line)
}

#[test]
fn scalars_keep_text_and_line() {
    let node = tree("a: 12345\nb:\n  - x\n  - 'on'\nc: {d: 0x10}\n");
    assert_eq!(at(&node, "a"), ("12345".to_owned(), 1));
    assert_eq!(at(&node, "b.1"), ("on".to_owned(), 4));
    assert_eq!(at(&node, "c.d"), ("0x10".to_owned(), 5));
}

#[test]
fn nothing_but_comments_is_no_document() {
    for text in ["", "  \n\n", "# only\n  # comments\n"] {
        assert!(parse(text).unwrap().is_none(), "{text:?}");
    }
    assert!(tree("---\n").is_null());
}

#[test]
fn only_the_first_document_is_read() {
    for text in ["a: b\n---\n{[", "---\na: b\n...\n\t", "a: b\n---\na: c\n"] {
        assert_eq!(at(&tree(text), "a").0, "b", "{text:?}");
    }
}

#[test]
fn aliases_and_merge_keys() {
    let node = tree("x: &x {k: 1, l: 2}\ny: *x\nz: {<<: *x, l: 3}\nm: {<<: [{k: a}, {k: b, n: c}]}\nq: {'<<': d}\n");
    assert_eq!(at(&node, "y.k"), ("1".to_owned(), 1));
    assert_eq!((at(&node, "z.k").0.as_str(), at(&node, "z.l").0.as_str()), ("1", "3"));
    assert_eq!((at(&node, "m.k").0.as_str(), at(&node, "m.n").0.as_str()), ("a", "c"));
    assert_eq!(at(&node, "q.<<").0, "d");
    assert_eq!(fault("a: {<<: 5}"), "yaml: map merge requires map or sequence of maps as the value");
    assert_eq!(fault("a: *nobody"), "yaml: unknown anchor 'nobody' referenced");
    assert_eq!(fault("a: &self [*self]"), "yaml: anchor 'self' value contains itself");
}

#[test]
fn keys_given_twice_are_told_where_they_are() {
    let node = tree("a: 1\nb: 2\n\"a\": 3\n? [c]\n: 4\n");
    let faults: Vec<_> = node.as_mapping().unwrap().faults.iter().map(|fault| fault.text.as_str()).collect();
    assert_eq!(
        faults,
        ["line 3: mapping key \"a\" already defined at line 1", "line 4: cannot unmarshal !!seq into string"]
    );
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", ")));
    }
    assert_eq!(fault(&bomb), "yaml: document contains excessive aliasing");
    let deep = format!("a: {}", "[".repeat(150) + &"]".repeat(150));
    assert_eq!(fault(&deep), "yaml: line 1: exceeded max depth of 100");
    assert!(parse(&"- ".repeat(20_000)).is_err());
    assert!(parse(&"{".repeat(100_000)).is_err());
}

#[test]
fn what_the_old_decoder_calls_a_value() {
    let cases = [
        ("x", "!!str `x`"),
        ("'5'", "!!str `5`"),
        ("5", "!!int `5`"),
        ("0x1f", "!!int `0x1f`"),
        ("1.5", "!!float `1.5`"),
        ("1e3", "!!float `1e3`"),
        ("1e3s", "!!str `1e3s`"),
        ("true", "!!bool `true`"),
        ("2020-01-01", "!!timestamp `2020-01-01`"),
        ("abcdefghijk", "!!str `abcdefg...`"),
        ("abcdefghij", "!!str `abcdefghij`"),
        ("[1]", "!!seq"),
        ("{a: b}", "!!map"),
        ("!!str 5", "!!str `5`"),
        ("~", "!!null `~`"),
    ];
    for (text, description) in cases {
        let node = tree(&format!("a: {text}\n"));
        assert_eq!(node.as_mapping().unwrap().find("a").unwrap().describe(), description, "{text}");
    }
}

#[test]
fn control_characters_are_refused() {
    assert_eq!(fault("a: \"\0\""), "yaml: control characters are not allowed");
    assert_eq!(at(&tree("\u{feff}a: b\r\nc: d\r\n"), "c").0, "d");
}

#[test]
fn indentation_within_brackets_and_quotes_is_free() {
    let cases = [
        "a:\n  b: {\nc: x,\nd: [\ny ]\n}\n  e: z\n",
        "{\n\"a\": {\n\"b\": {\n\"c\": \"x\", \"d\": [\n\"y\"]},\n\t\"e\": z\n}\n}\n",
    ];
    for text in cases {
        let node = tree(text);
        assert_eq!((at(&node, "a.b.c").0.as_str(), at(&node, "a.b.d.0").0.as_str()), ("x", "y"), "{text}");
        assert_eq!(at(&node, "a.e").0, "z", "{text}");
    }
    assert_eq!(at(&tree("a:\n  b: \"x\ny \\\nz\"\n  c: 'it''s\none'\n"), "a.b").0, "x y z");
    assert_eq!(at(&tree("a:\n  b: \"x\ny \\\nz\"\n  c: 'it''s\none'\n"), "a.c"), ("it's one".to_owned(), 5));
    assert_eq!(at(&tree("a:\n  b:\tx\n"), "a.b"), ("x".to_owned(), 2));
    assert_eq!(at(&tree("a:\n  - b:\t c\n"), "a.0.b").0, "c");
}

#[test]
fn indentation_elsewhere_is_not() {
    for text in ["a:\n   b: c\n  d: e\n", "a:\n  b: c\n\td: e\n", "a:\n  b: c\n   d: e\n"] {
        assert!(parse(text).is_err(), "{text:?}");
    }
}
