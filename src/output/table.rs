//! Aligned tables for people.

use std::io::IsTerminal;

use comfy_table::presets::NOTHING;

/// How many columns results have, where somebody reads them at a terminal.
pub fn terminal_width() -> Option<usize> {
    let (_, columns) = std::io::stdout().is_terminal().then(|| console::Term::stdout().size_checked())??;
    (columns > 0).then_some(usize::from(columns))
}

/// A table with a heading.
pub struct Table(comfy_table::Table);

impl Table {
    /// An empty table with these columns.
    pub fn new(columns: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_preset(NOTHING).set_header(columns);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self(table)
    }

    /// Adds a row; what cannot be seen is spelled out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|cell| super::shown::shown(&cell)));
    }

    /// The same, where each line is cut to what a terminal of this width shows in one.
    pub fn render_within(&self, width: Option<usize>) -> String {
        let text = self.render();
        let Some(width) = width else { return text };
        text.lines().flat_map(|line| [console::truncate_str(line, width, "…").into_owned(), "\n".to_owned()]).collect()
    }

    /// The table as text, without spaces at the ends of lines.
    pub fn render(&self) -> String {
        self.0.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect()
    }
}
