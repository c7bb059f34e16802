use super::markdown::{Row, anchor, spans};
use super::variables::{Variable, declared, differences, plain};
use super::{marks_of_a_merge, messages, picture, scan};

const SOURCE: &str = r#"
constexpr unsigned long long kKib = 1024;
constexpr unsigned long long kMib = 1024 * kKib;
constexpr unsigned long kFast = 1;
const char *speeds[] = {"slow", "fast", nullptr};
TYPELIB speed_names = {2, "", speeds, nullptr};
MYSQL_SYSVAR_STR(where, where, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY, "A path, or \"nothing\".", nullptr, nullptr, "");
MYSQL_SYSVAR_ULONGLONG(size, size, PLUGIN_VAR_RQCMDARG, "Bytes (of "
                       "memory).", nullptr, update<unsigned long long>, 16 * kMib, kKib, 1'000'000, 0);
MYSQL_THDVAR_ENUM(speed, PLUGIN_VAR_RQCMDARG, "How.", nullptr, nullptr, kFast, &speed_names);
MYSQL_SYSVAR_STR(version, version_text, PLUGIN_VAR_NOCMDOPT | PLUGIN_VAR_READONLY, "Which.", nullptr, nullptr, version::text());
MYSQL_SYSVAR_BOOL(on, on, PLUGIN_VAR_OPCMDARG, "Whether.", nullptr, nullptr, true);
"#;

fn variable(default: &str, range: &str, changed_by: &'static str) -> Variable {
    Variable {
        default: default.into(),
        range: range.into(),
        changed_by,
    }
}

#[test]
fn declarations_are_understood() {
    let found = declared(SOURCE).unwrap();
    let expected = [
        ("smartengine_on", variable("ON", "", "SET GLOBAL")),
        (
            "smartengine_size",
            variable("16777216", "1024 to 1000000", "SET GLOBAL"),
        ),
        (
            "smartengine_speed",
            variable("fast", "slow, fast", "SET SESSION"),
        ),
        ("smartengine_version", variable("built in", "", "nothing")),
        ("smartengine_where", variable("empty", "", "start")),
    ];
    assert_eq!(found.len(), expected.len());
    for (name, variable) in expected {
        assert_eq!(found[name], variable, "{name}");
    }
}

#[test]
fn what_the_book_says_otherwise_is_found() {
    let row = |cells: [&str; 5]| Row {
        line: 1,
        section: String::new(),
        columns: Vec::new(),
        cells: cells.map(str::to_owned).to_vec(),
    };
    let size = &declared(SOURCE).unwrap()["smartengine_size"];
    let good = [
        "`smartengine_size`",
        "16M",
        "1K to 1000000",
        "SET GLOBAL",
        "Bytes.",
    ];
    assert_eq!(differences(size, &row(good)), [""; 0]);
    for (at, wrong) in [(1, "17M"), (2, "1K to 2000000"), (3, "start")] {
        let mut cells = good;
        cells[at] = wrong;
        assert_eq!(differences(size, &row(cells)).len(), 1, "{wrong}");
    }
}

#[test]
fn sizes_are_numbers() {
    assert_eq!(plain("64K to 1G"), "65536 to 1073741824");
    assert_eq!(plain("lz4:lz4:zstd"), "lz4:lz4:zstd");
}

#[test]
fn literals_are_joined_and_split_at_what_they_name() {
    let cpp = "log::error(\"catalog: \" + name + \" cannot be \"\n    \"dropped: \" + why); x = '\"'; // \"no\"";
    assert_eq!(scan::literals(cpp), ["catalog: ", " cannot be dropped: "]);
    assert_eq!(
        messages::pieces_of_lines(cpp, &["log::error(", "log::warning(", "log::information("]),
        ["catalog", "cannot be dropped"]
    );
    let rust = "tracing::warn!(\"the log in {} is of \\\n     epoch {epoch}: {error}\")";
    assert_eq!(
        messages::pieces_of_lines(
            rust,
            &["tracing::error!(", "tracing::warn!(", "tracing::info!("]
        ),
        ["the log in", "is of epoch"]
    );
}

#[test]
fn errors_of_the_plugin_are_found() {
    let source = "enum {\n  /// Raised.\n  kErrorRaised = 1200,\n  kErrorFenced = 1202,\n};";
    assert_eq!(messages::own_errors(source), [1202]);
}

#[test]
fn anchors_are_those_of_the_pages() {
    assert_eq!(
        anchor("SHOW ENGINE `x`, and more"),
        "show-engine-x-and-more"
    );
    assert_eq!(spans("a `b` c `d`"), ["b", "d"]);
}

#[test]
fn the_same_text_gives_the_same_picture() {
    let text = "picture 400 | A & B\nband blue | top: some words\nrow\nbox a 1 | A | first\nbox b 1 | B | second\narrow a b | to";
    let svg = picture::draw(text).unwrap();
    assert_eq!(svg, picture::draw(text).unwrap());
    assert!(
        svg.contains("A &amp; B") && svg.contains(">second<"),
        "{svg}"
    );
    let wrong = picture::draw("picture 400 | x\narrow a b | to").unwrap_err();
    assert!(format!("{wrong:#}").contains("no box a"), "{wrong:#}");
}

/// The documents of this checkout.
#[test]
fn the_documents_are_sound() {
    super::check().unwrap();
}

#[test]
fn what_a_merge_has_left_is_found() {
    let text = "# Title\n<<<<<<< HEAD\none\n=======\ntwo\n>>>>>>> 0a1b (wip)\n";
    assert_eq!(marks_of_a_merge("page.md", text).len(), 3);
    assert!(marks_of_a_merge("page.md", "a <<<<<<< b\n| ======= |\n").is_empty());
}
