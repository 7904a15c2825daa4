//! Completions and manual pages, made from the same definitions as the parser: `kes completion`, `kes man`.

use std::path::Path;

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::args::Cli;
use crate::failure::{Failure, Outcome};
use crate::help;
use crate::input;
use crate::output;

/// `kes completion SHELL`, for the name under which the program was called.
pub(crate) fn completion(shell: Shell, program: &str) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut brief(), program, &mut script);
    output::print(script)
}

/// `kes --auto-completion`.
///
/// Departs from upstream: there it wrote to the start file of the shell. Here it says what to write.
pub(crate) fn recipe(program: &str, shell: Option<&str>) -> Outcome {
    let name = shell.and_then(|path| path.rsplit('/').next()).unwrap_or("bash");
    output::print(match name {
        "zsh" => {
            format!("# Put this into ~/.zshrc:\nautoload -U compinit && compinit\nsource <({program} completion zsh)\n")
        }
        "fish" => format!("# Run this once:\n{program} completion fish > ~/.config/fish/completions/{program}.fish\n"),
        _ => format!("# Put this into ~/.bashrc:\nsource <({program} completion bash)\n"),
    })
}

/// `kes man`: one page, or all of them to a folder.
pub(crate) fn man(folder: Option<&Path>) -> Outcome {
    let Some(folder) = folder else {
        return output::print(page(&complete())?);
    };
    let wrong = |path: &Path, error: std::io::Error| {
        Failure::new(format!("open {}: {}", path.display(), input::reason(&error)))
    };
    std::fs::create_dir_all(folder).map_err(|error| wrong(folder, error))?;
    for (name, page) in pages()? {
        let path = folder.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(|error| wrong(&path, error))?;
    }
    Ok(())
}

/// All pages by name: `kes`, `kes-key`, `kes-key-create`, …, `kes-server`.
fn pages() -> Outcome<Vec<(String, Vec<u8>)>> {
    let mut todo = vec![complete()];
    let mut pages = Vec::new();
    while let Some(command) = todo.pop() {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        pages.push((name, page(&command)?));
        todo.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
    }
    Ok(pages)
}

/// The definitions, with those of the server in their place.
fn complete() -> Command {
    let mut root = Cli::definition();
    // Only now, or the client's global options would become the server's.
    for place in root.get_subcommands_mut().filter(|command| command.get_name() == "server") {
        let mut server = kes_server::command().name("server").bin_name("kes server");
        server.build();
        *place = server.display_name("kes-server").about(place.get_about().cloned().unwrap_or_default());
    }
    root
}

/// What completion offers: nothing that help hides, in as few words as a list of candidates bears, and behind `help` the
/// names that it knows.
fn brief() -> Command {
    let root = visible(&complete());
    let names = root.get_subcommands().map(Command::get_name).chain(help::TOPICS.iter().map(|(name, _)| *name));
    let names: Vec<Command> = names.filter(|name| *name != "help").map(|name| Command::new(name.to_owned())).collect();
    root.mut_subcommand("help", |help| help.subcommands(names))
}

fn visible(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    // Not every shell is told of the values of a positional argument; commands are offered in all of them.
    let (choices, arguments): (Vec<&Arg>, Vec<&Arg>) =
        arguments.partition(|argument| argument.is_positional() && !argument.get_possible_values().is_empty());
    let choices = choices.into_iter().flat_map(Arg::get_possible_values);
    Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .version(env!("CARGO_PKG_VERSION")) // for a flag that is there already
        .args(arguments.into_iter().map(offered))
        .subcommands(commands.map(visible))
        .subcommands(choices.map(|choice| Command::new(choice.get_name().to_owned())))
}

/// What completion has to know of an argument. What it excludes or requires stays behind: the other may be one that is
/// not offered.
fn offered(argument: &Arg) -> Arg {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let mut offered = Arg::new(argument.get_id().clone())
        .help(help.split(" [").next().unwrap_or_default().to_owned())
        .action(argument.get_action().clone())
        .short(argument.get_short())
        .visible_short_aliases(argument.get_visible_short_aliases().unwrap_or_default())
        .value_hint(argument.get_value_hint());
    if let Some(long) = argument.get_long() {
        offered = offered.long(long.to_owned());
    }
    for alias in argument.get_visible_aliases().unwrap_or_default() {
        offered = offered.visible_alias(alias.to_owned());
    }
    if argument.get_action().takes_values() {
        offered = offered.value_parser(argument.get_value_parser().clone());
        offered = offered.value_names(argument.get_value_names().unwrap_or_default().to_vec());
        offered = argument.get_num_args().into_iter().fold(offered, Arg::num_args);
    }
    offered
}

fn page(command: &Command) -> Outcome<Vec<u8>> {
    let mut page = Vec::new();
    let rendered = render(command, &mut page);
    rendered.map(|()| page).map_err(|error| Failure::new(format!("writing a page: {error}")))
}

/// The usual sections. What help shows behind the options becomes sections of its own, in which lines stay lines.
fn render(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let is_root = name == "kes";
    let man = Man::new(command.clone().after_help("")).title(name.to_uppercase()).manual("kes").source(SOURCE);
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(page)?;
    }
    let mut roff = Roff::new();
    for (heading, text) in sections(&examples, is_root) {
        verbatim(&mut roff, heading, text.trim_end());
    }
    roff.to_writer(page)
}

const SOURCE: &str = concat!("kes ", env!("CARGO_PKG_VERSION"));

/// What stands behind the options, by heading.
fn sections(text: &str, is_root: bool) -> Vec<(&'static str, &str)> {
    let (notes, examples) = text.split_once("Examples:\n").unwrap_or((text, ""));
    let mut sections = vec![("NOTES", notes), ("EXAMPLES", examples)];
    if is_root {
        let headings = ["EXIT STATUS", "ENVIRONMENT", "FILES"];
        sections.extend(headings.into_iter().zip(help::TOPICS.iter().map(|(_, text)| *text)));
    }
    sections.retain(|(_, text)| !text.trim().is_empty());
    sections
}

fn verbatim(roff: &mut Roff, heading: &str, text: &str) {
    roff.control("SH", [heading]);
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}
