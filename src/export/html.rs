//! The report as one page of HTML that loads nothing: it is read from a mail or an archive, in the dark and in the light.

use std::fmt::Write as _;

use crate::incident::{Level, Seal, State, clock, duration_text};

use super::chart::Chart;
use super::one_line;
use super::report::{Report, all_remarks, moment};

/// Nothing may be loaded or run, whatever got into the page.
const HEAD: &str = "<meta charset=\"utf-8\">\n\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
<meta name=\"color-scheme\" content=\"light dark\">\n";

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#fff;--line:#d0d7de;--work:#0969da;--gap:#b6d3f2;\
--good:#116329;--bad:#b3261e;--warn:#7d4e00}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4af;--paper:#0d1117;--line:#30363d;--work:#58a6ff;\
--gap:#1f3d5c;--good:#56d364;--bad:#ff8a80;--warn:#e3b341}}
body{margin:2rem auto;padding:0 1rem;max-width:60rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);\
background:var(--paper)}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--line);\
overflow-wrap:anywhere}
th{font-weight:600}tbody th{white-space:nowrap}
ol,ul{list-style:none;padding:0}li{padding:.2rem 0;overflow-wrap:anywhere}
time,code{font-family:ui-monospace,monospace;font-size:.875em}
time,small{color:var(--soft)}
.met{color:var(--good)}.missed,.failure{color:var(--bad)}.warning{color:var(--warn)}.note{font-style:italic}
svg{width:100%;height:auto}svg text{fill:var(--ink);font:13px system-ui,sans-serif}
svg .soft{fill:var(--soft)}svg .work{fill:var(--work)}svg .gap{fill:var(--gap)}svg .axis{stroke:var(--line)}
@media print{body{margin:0;max-width:none}}";

/// Sizes of the drawing: where bars begin, how wide all of them are, and a row's height.
const LEFT: i64 = 220;
const WIDE: i64 = 640;
const ROW: i64 = 24;

pub(super) fn report(state: &State, seal: Option<&Seal>) -> String {
    let report = Report::of(state);
    let mut out = String::new();
    let title = escape(&report.title);
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n{HEAD}<title>{title}</title>");
    let _ = writeln!(out, "<style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>{title}</h1>");
    let _ = writeln!(out, "<h2>Impact</h2>\n<table><tbody>");
    for (name, value) in &report.impact {
        let _ = writeln!(out, "<tr><th>{name}</th><td>{}</td></tr>", escape(value));
    }
    for goal in &report.goals {
        // The words say it too: nothing is told by colour alone.
        let class = match goal.met {
            Some(true) => " class=\"met\"",
            Some(false) => " class=\"missed\"",
            None => "",
        };
        let _ = writeln!(out, "<tr><th>{}</th><td{class}>{}</td></tr>", goal.name, escape(&goal.words()));
    }
    let _ = writeln!(out, "</tbody></table>");
    if !report.failures.is_empty() {
        let _ = writeln!(out, "<h2>What failed</h2>\n<ul>");
        for failure in &report.failures {
            let (step, target, words) = (escape(&failure.step), escape(&failure.target), escape(&failure.words));
            let _ = writeln!(out, "<li>{} <b>{step}</b> on {target}: {words}</li>", time(failure.at));
        }
        let _ = writeln!(out, "</ul>");
    }
    let _ = writeln!(out, "<h2>Where the time went</h2>\n{}", chart(&report.chart));
    let _ = writeln!(out, "<h2>Decisions</h2>\n<ul>");
    for entry in &report.decisions {
        let (who, text) = (escape(&entry.actor), escape(&entry.text));
        let _ = writeln!(out, "<li>{} <b>{who}</b>: {text}</li>", time(entry.at));
    }
    if report.decisions.is_empty() {
        let _ = writeln!(out, "<li>None yet.</li>");
    }
    let _ = writeln!(out, "</ul>\n<h2>Timeline (UTC)</h2>\n<ol>");
    for entry in &state.timeline {
        let (class, word) = match entry.level {
            Level::Normal => ("", ""),
            Level::Note => (" class=\"note\"", "Note: "),
            Level::Warning => (" class=\"warning\"", "Warning: "),
            Level::Failure => (" class=\"failure\"", "Failed: "),
        };
        let remarks = escape(&all_remarks(state, entry));
        let remarks = if remarks.is_empty() { String::new() } else { format!(" <small>({remarks})</small>") };
        let _ = writeln!(out, "<li{class}>{} {word}{}{remarks}</li>", time(entry.at), escape(&entry.text));
    }
    let _ = writeln!(out, "</ol>\n<h2>Steps</h2>\n<table>");
    let _ = writeln!(
        out,
        "<thead><tr><th>Step</th><th>Outcome</th><th>By</th><th>Took</th><th>Proof</th></tr></thead>\n<tbody>"
    );
    for step in &report.steps {
        let (title, outcome, by) = (escape(&step.title), escape(&step.outcome), escape(&step.by));
        let (took, proof) = (escape(&step.took), escape(&step.proof));
        let _ =
            writeln!(out, "<tr><td>{title}</td><td>{outcome}</td><td>{by}</td><td>{took}</td><td>{proof}</td></tr>");
    }
    let _ = writeln!(out, "</tbody></table>");
    if let Some(seal) = seal {
        let _ = writeln!(
            out,
            "<p><small>Journal <code>{seal}</code>. <code>relight audit {} --against</code> proves that it still holds \
             this.</small></p>",
            state.id
        );
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn time(at: jiff::Timestamp) -> String {
    format!("<time datetime=\"{at}\">{}</time>", moment(at))
}

/// The phases as a drawing.
fn chart(chart: &Chart) -> String {
    let rows = i64::try_from(chart.rows.len()).unwrap_or(0);
    let (width, bottom) = (LEFT + WIDE + 80, rows * ROW);
    let mut out = format!(
        "<svg viewBox=\"0 0 {width} {}\" role=\"img\" aria-label=\"Phases over time\">\n<line class=\"axis\" \
         x1=\"{LEFT}\" x2=\"{}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\n",
        bottom + 24,
        LEFT + WIDE
    );
    let mut top = 0;
    for row in &chart.rows {
        let title = one_line(&row.title);
        let short: String = title.chars().take(30).collect();
        let _ = writeln!(out, "<text x=\"0\" y=\"{}\">{}</text>", top + 16, escape(&short));
        let mut bar = |class: &str, from, to, what: &str| {
            let begin = chart.place(from, WIDE);
            // The shortest piece of work is seen as well.
            let wide = (chart.place(to, WIDE) - begin).max(2);
            let _ = writeln!(
                out,
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{wide}\" height=\"14\"><title>{what}</title></rect>",
                LEFT + begin,
                top + 5
            );
        };
        if let (Some((first, _)), Some((_, last))) = (row.work.first(), row.work.last()) {
            bar("gap", *first, *last, "between two steps of the phase");
        }
        for (from, to) in &row.work {
            let what = format!("{} to {}, {}", moment(*from), moment(*to), duration_text(to.duration_since(*from)));
            bar("work", *from, *to, &what);
        }
        let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">{}</text>", LEFT + WIDE + 8, top + 16, duration_text(row.busy));
        top += ROW;
    }
    let (from, to) = (clock(chart.from), clock(chart.to));
    let _ = writeln!(out, "<text class=\"soft\" x=\"{LEFT}\" y=\"{}\">{from}</text>", bottom + 18);
    let _ = writeln!(
        out,
        "<text class=\"soft\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{to}</text>\n</svg>",
        LEFT + WIDE,
        bottom + 18
    );
    let (all, idle) = (duration_text(chart.length()), duration_text(chart.idle));
    let _ = writeln!(out, "<p><small>{all} in all, {idle} of it nothing was at work.</small></p>");
    out
}

/// Text that came from outside must not become markup, in an element or in an attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
