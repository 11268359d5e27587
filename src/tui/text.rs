//! Text that is safe and fits: nothing from outside reaches the terminal except through here.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

pub(super) use crate::plain::{clean, is_plain};

/// A number of columns or rows; more than fit into a `u16` are as good as its end.
pub(super) fn cells(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    if is_plain(text) { text.len() } else { text.width() }
}

/// The text, cut to `columns` with a mark where something is missing.
pub(super) fn fit(text: &str, columns: usize, ellipsis: &str) -> String {
    let text = clean(text);
    if width(&text) <= columns {
        return text.into_owned();
    }
    let mark = if columns >= width(ellipsis) { ellipsis } else { "" };
    let room = columns.saturating_sub(width(mark));
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > room {
            break;
        }
        cut.push(c);
    }
    cut.push_str(mark);
    cut
}

/// The text, cut in its middle to `columns`: a path's last part tells more than what leads there.
pub(super) fn fit_ends(text: &str, columns: usize, ellipsis: &str) -> String {
    let text = clean(text);
    let room = columns.saturating_sub(width(ellipsis));
    if width(&text) <= columns || room < 2 {
        return fit(&text, columns, ellipsis);
    }
    let mut used = 0;
    let fits = |c: &(usize, char)| {
        used += c.1.width().unwrap_or(0);
        used <= room / 2
    };
    let end = text.char_indices().rev().take_while(fits).last().map_or(text.len(), |(at, _)| at);
    let (begin, end) = (fit(&text, room - room / 2, ""), text.get(end..).unwrap_or_default());
    format!("{begin}{ellipsis}{end}")
}

/// The text in exactly `columns`, at their left.
pub(super) fn left(text: &str, columns: usize, ellipsis: &str) -> String {
    let mut text = fit(text, columns, ellipsis);
    let missing = columns.saturating_sub(width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// The text in exactly `columns`, at their right.
pub(super) fn right(text: &str, columns: usize, ellipsis: &str) -> String {
    let text = fit(text, columns, ellipsis);
    let missing = columns.saturating_sub(width(&text));
    format!("{}{text}", " ".repeat(missing))
}

/// The text on at most so many rows; of one that is longer its end is kept, which says what to do or where something is.
pub(super) fn rows(text: &str, columns: usize, most: usize, ellipsis: &str) -> Vec<String> {
    let mut rows = wrap(text, columns);
    if rows.len() > most.max(1) {
        let rest = rows.split_off(most.max(1) - 1);
        rows.push(fit_ends(&rest.join(" "), columns, ellipsis));
    }
    rows
}

/// Lines of at most `columns`, broken at spaces where there are some. Never empty.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        wrap_line(&clean(paragraph), columns, &mut lines);
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

fn wrap_line(text: &str, columns: usize, lines: &mut Vec<String>) {
    let mut line = String::new();
    let mut used = 0;
    let before = lines.len();
    for word in text.split_inclusive(' ') {
        let bare = width(word.trim_end());
        if used > 0 && used + bare > columns {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
            used = 0;
        }
        // Spaces where a line was broken would look like an indent.
        if bare == 0 && used == 0 && lines.len() > before {
            continue;
        }
        if bare <= columns {
            line.push_str(word);
            used += width(word);
            continue;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if used > 0 && used + wide > columns {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            // A character that is wider than the whole column can be shown nowhere.
            if wide <= columns {
                line.push(c);
                used += wide;
            }
        }
    }
    lines.push(line.trim_end().to_owned());
}

/// `4.19 GiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut unit = 0;
    let mut scaled = u128::from(count) * 100 / 1024;
    while scaled >= 102_400 && unit + 1 < UNITS.len() {
        scaled /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("PiB");
    let (whole, part) = (scaled / 100, scaled % 100);
    if whole >= 100 || part == 0 { format!("{whole} {name}") } else { format!("{whole}.{part:02} {name}") }
}

/// `312,004`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wide_characters_count_double() {
        assert_eq!(fit("数据库恢复", 5, "…"), "数据…");
        assert_eq!(left("数", 4, "…"), "数  ");
        assert_eq!(wrap("数据库 恢复", 4), ["数据", "库", "恢复"]);
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("", 7), [""]);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        for (count, text) in
            [(0, "0 B"), (1023, "1023 B"), (12_288, "12 KiB"), (4_499_000_000, "4.19 GiB"), (u64::MAX, "16383 PiB")]
        {
            assert_eq!(bytes(count), text);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_clean_and_fits(text in any::<String>(), columns in 0_usize..30) {
            prop_assert!(clean(&text).chars().all(|c| !c.is_control()));
            prop_assert!(width(&fit(&text, columns, "…")) <= columns);
            for line in wrap(&text, columns) {
                prop_assert!(width(&line) <= columns.max(1), "{line:?}");
            }
        }
    }
}
