// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "render.hpp"
#include "text.hpp"

namespace ephor::reporter {
namespace {

// Colours and sizes are those of the dashboard.
constexpr std::string_view kStyle = R"css(
:root{color-scheme:light dark;--bg:#F4F5F7;--surface:#FFF;--raised:#EEF0F4;--line:#E4E7EC;--text:#12161C;
--text2:#47515F;--text3:#5F6978;--accent:#2856C8;--ok:#08735A;--low:#4B5B72;--warning:#855600;
--critical:#BE2A32;--gain:#08735A;--loss:#B8323A}
@media (prefers-color-scheme:dark){:root{--bg:#0B0E12;--surface:#11151B;--raised:#1A2028;--line:#212832;
--text:#E9EDF2;--text2:#AAB4C1;--text3:#8591A0;--accent:#7FA8FF;--ok:#45C49A;--low:#9FB0C6;
--warning:#EDB64F;--critical:#FF7575;--gain:#45C49A;--loss:#FF8F87}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:13px/18px Inter,system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
font-feature-settings:"tnum";font-variant-numeric:tabular-nums}
main{max-width:960px;margin:0 auto;padding:24px 20px 40px}
h1{font-size:20px;line-height:26px;font-weight:600;letter-spacing:-.015em;margin:0}
h2{font-size:15px;line-height:21px;font-weight:600;margin:0 0 2px}
h3{font-size:13px;line-height:18px;font-weight:600;margin:20px 0 4px}
h3 small,.sub{font-size:12px;line-height:16px;font-weight:400;color:var(--text3)}
header{margin-bottom:16px}
header p,.lead{margin:2px 0 0;color:var(--text2)}
section{background:var(--surface);border:1px solid var(--line);border-radius:8px;padding:16px;margin-top:12px}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(168px,1fr));gap:1px;margin:12px -16px -16px;
border-top:1px solid var(--line);overflow:hidden;border-radius:0 0 8px 8px}
.figures:not(:last-child){margin-bottom:4px;border-bottom:1px solid var(--line);border-radius:0}
.figures div{padding:12px 16px;box-shadow:1px 0 0 var(--line),0 1px 0 var(--line)}
dl,dt,dd{margin:0}
dt{font-size:12px;line-height:16px;color:var(--text3)}
dd{font-size:20px;line-height:26px;font-weight:600;letter-spacing:-.015em;white-space:nowrap}
dd+dd{font-size:12px;line-height:16px;font-weight:400;letter-spacing:0;color:var(--text2);white-space:normal}
.none{color:var(--text3);font-weight:400}
dd.none{font-size:15px}
.gain{color:var(--gain)}.loss{color:var(--loss)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th{font-size:11px;line-height:16px;font-weight:400;color:var(--text3);text-align:left;padding:6px 12px 6px 0;vertical-align:bottom}
td{padding:6px 12px 6px 0;border-top:1px solid var(--line);vertical-align:top}
th:last-child,td:last-child{padding-right:0}
.n{text-align:right;white-space:nowrap}
.id{font-family:ui-monospace,"SF Mono",Menlo,"DejaVu Sans Mono",monospace;font-size:12px}
.note{color:var(--text3);font-size:12px;line-height:16px;margin:6px 0 0}
svg{display:block;width:100%;height:auto;margin-top:8px}
svg .grid{stroke:var(--line)}svg .zero{stroke:var(--text3)}
svg .main{fill:none;stroke:var(--accent);stroke-width:1.6}svg .fill{fill:var(--accent);fill-opacity:.12}
svg .dot{fill:var(--accent)}svg .under{fill:var(--loss);fill-opacity:.28}
svg .bar{fill:var(--accent)}svg .gain{fill:var(--gain)}svg .loss{fill:var(--loss)}
svg text{font-size:12px;fill:var(--text)}svg .axis{font-size:11px;fill:var(--text3)}
svg .e{text-anchor:end}svg .m{text-anchor:middle}svg .name{fill:var(--text2)}
.finding{display:grid;grid-template-columns:20px 1fr;margin-top:10px}
.finding p{margin:0}.finding .mark{font-size:12px}
.info .mark{color:var(--text3)}.low .mark{color:var(--low)}.warning .mark{color:var(--warning)}.critical .mark{color:var(--critical)}
footer{color:var(--text3);font-size:12px;line-height:16px;margin-top:16px}
@page{size:A4;margin:14mm}
@media print{:root{--bg:#FFF;--surface:#FFF;--raised:#EEF0F4;--line:#D3D8DF;--text:#12161C;--text2:#47515F;--text3:#5F6978;
--accent:#2856C8;--ok:#08735A;--low:#4B5B72;--warning:#855600;--critical:#BE2A32;--gain:#08735A;--loss:#B8323A;color-scheme:light}
main{padding:0;max-width:none}section{border:0;border-top:1px solid var(--line);border-radius:0;padding:12px 0}
.figures{margin:12px 0 0;grid-template-columns:repeat(4,1fr);border-radius:0}
tr,svg,.finding,.figures div{break-inside:avoid}h2,h3,.lead{break-after:avoid}.scroll{overflow:visible}
body{font-size:11px;line-height:15px}td{padding:4px 10px 4px 0}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
)css";

// A shape beside the colour, so that grey paper says the same.
std::string_view mark_of(Severity severity) {
  switch (severity) {
    case Severity::info:
      return "\u25CB";
    case Severity::low:
      return "\u25CF";
    case Severity::warning:
      return "\u25B2";
    case Severity::critical:
      break;
  }
  return "\u25A0";
}

bool is_numeric(Format format) {
  return format != Format::text && format != Format::id && format != Format::time;
}

double sign_of(const Value& value) {
  if (const auto* real = std::get_if<double>(&value)) return *real;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return static_cast<double>(*integer);
  return 0;
}

std::string_view sign_class(const Value& value, Format format) {
  if (format != Format::signed_money) return {};
  const double sign = sign_of(value);
  return sign > 0 ? "gain" : sign < 0 ? "loss" : "";
}

class Writer {
 public:
  explicit Writer(const Report& report) : report_(report), offset_s_(report.offset_from_s) {}

  std::string page() {
    out_ +=
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'unsafe-inline'\"><title>";
    out_ += escape_html(report_.title) + "</title><style>";
    out_ += kStyle;
    out_ += "</style></head><body><main>\n<header><h1>" + escape_html(report_.title) + "</h1><p>" +
            escape_html(period_text()) + "</p></header>\n";
    for (const Section& section : report_.sections) write(section);
    out_ += "<footer>" + escape_html(foot_text()) + "</footer>\n</main></body></html>\n";
    return std::move(out_);
  }

  std::string mail() {
    constexpr std::string_view kCell =
        "<td style=\"padding:4px 16px 4px 0;border-top:1px solid #E4E7EC;\">";
    out_ =
        "<!DOCTYPE html>\n<html><body style=\"font:14px/20px system-ui,sans-serif;color:#12161C;"
        "\"><h1 style=\"font-size:20px;margin:0;\">" +
        escape_html(report_.title) + "</h1><p style=\"color:#47515F;margin:4px 0 12px;\">" +
        escape_html(period_text()) + "</p>\n";
    for (const Section& section : report_.sections) {
      if (section.id != "headline" && section.id != "findings") continue;
      out_ += "<h2 style=\"font-size:15px;margin:12px 0 4px;\">" + escape_html(section.title) +
              "</h2><p style=\"margin:0 0 8px;\">" + escape_html(section.lead) + "</p>\n";
      for (const Block& block : section.blocks) {
        if (const auto* note = std::get_if<Note>(&block)) {
          out_ += "<p style=\"margin:0 0 8px;\"><b>" + escape_html(name_of(note->severity)) + " " +
                  escape_html(note->head) + "</b> " + escape_html(note->text) + "</p>\n";
        }
        const auto* figures = std::get_if<Figures>(&block);
        if (figures == nullptr) continue;
        out_ += "<table style=\"border-collapse:collapse;\">";
        for (const Figure& figure : figures->figures) {
          const std::string text = value_text(figure.value, figure.format, offset_s_);
          out_ += "<tr>";
          out_ += kCell;
          out_ += escape_html(figure.label) + "</td>";
          out_ += kCell;
          out_ += "<b>" + escape_html(text.empty() ? kNoData : text) + "</b></td>";
          out_ += kCell;
          out_ += escape_html(context_of(figure)) + "</td></tr>\n";
        }
        out_ += "</table>\n";
      }
    }
    out_ += "<p style=\"color:#5F6978;font-size:12px;\">The whole report is attached. " +
            escape_html(foot_text()) + "</p></body></html>\n";
    return std::move(out_);
  }

 private:
  std::string zone_text() const { return report_.zone.empty() ? "UTC" : report_.zone; }

  std::string period_text() const {
    const double seconds = static_cast<double>(report_.to_ns - report_.from_ns) / 1e9;
    return date_time(report_.from_ns, report_.offset_from_s) + " to " +
           date_time(report_.to_ns, report_.offset_to_s) + " " + zone_text() + ", " +
           duration(seconds) + ", event time" + (report_.is_late ? "; made late" : "");
  }

  std::string foot_text() const {
    std::uint64_t sequence = 0;
    for (const SourceNote& source : report_.sources)
      sequence = std::max(sequence, source.as_of_sequence);
    return "Report " + report_.report_id + ", generated " + date_time(report_.generated_at_ns, 0) +
           " UTC by Ephor" +
           (sequence == 0 ? "" : ", log as of sequence " + std::to_string(sequence)) + ".";
  }

  void write(const Section& section) {
    out_ += "<section id=\"" + escape_html(section.id) + "\"><h2>" + escape_html(section.title) +
            "</h2>";
    if (!section.lead.empty()) out_ += "<p class=\"lead\">" + escape_html(section.lead) + "</p>";
    for (const Block& block : section.blocks) {
      std::visit([this](const auto& one) { write(one); }, block);
    }
    out_ += "</section>\n";
  }

  std::string context_of(const Figure& figure) const {
    std::string out;
    if (figure.interval) {
      out = value_text(figure.interval->first, figure.format, offset_s_) + " to " +
            value_text(figure.interval->second, figure.format, offset_s_);
    }
    const auto add = [&](const std::string& text) {
      if (!text.empty()) out += (out.empty() ? "" : ", ") + text;
    };
    add(figure.context);
    const std::string before = value_text(figure.before, figure.format, offset_s_);
    if (!before.empty()) add("before " + before);
    return out;
  }

  void write(const Figures& block) {
    out_ += "<dl class=\"figures\">";
    for (const Figure& figure : block.figures) {
      const std::string text = value_text(figure.value, figure.format, offset_s_);
      const std::string style(text.empty() ? "none" : sign_class(figure.value, figure.format));
      out_ += "<div><dt>" + escape_html(figure.label) + "</dt><dd";
      if (!style.empty()) out_ += " class=\"" + style + "\"";
      out_ += ">" + escape_html(text.empty() ? kNoData : text) + "</dd>";
      if (const std::string context = context_of(figure); !context.empty())
        out_ += "<dd>" + escape_html(context) + "</dd>";
      out_ += "</div>";
    }
    out_ += "</dl>";
  }

  void head(const std::string& title, const std::string& subtitle) {
    if (title.empty()) return;
    out_ += "<h3>" + escape_html(title);
    if (!subtitle.empty()) out_ += " <small>" + escape_html(subtitle) + "</small>";
    out_ += "</h3>";
  }

  void empty(const std::string& text) {
    out_ += "<p class=\"note\">" + escape_html(text.empty() ? kNoData : text) + "</p>";
  }

  void write(const Table& block) {
    head(block.title, {});
    if (block.rows.empty()) return empty(block.empty);
    out_ += "<div class=\"scroll\"><table><thead><tr>";
    for (const Column& column : block.columns) {
      out_ += is_numeric(column.format) ? "<th class=\"n\">" : "<th>";
      out_ += escape_html(column.label) + "</th>";
    }
    out_ += "</tr></thead><tbody>\n";
    for (const auto& row : block.rows) {
      out_ += "<tr>";
      for (std::size_t i = 0; i < row.size() && i < block.columns.size(); ++i)
        write_cell(row[i].value, row[i].format.value_or(block.columns[i].format));
      out_ += "</tr>\n";
    }
    out_ += "</tbody></table></div>";
    const auto shown = static_cast<std::int64_t>(block.rows.size());
    std::string note = block.note;
    if (block.rows_total && *block.rows_total > shown) {
      note = whole(shown) + " of " + whole(*block.rows_total) + " shown. " + note;
    }
    if (!note.empty()) out_ += "<p class=\"note\">" + escape_html(note) + "</p>";
  }

  void write_cell(const Value& value, Format format) {
    const std::string text = value_text(value, format, offset_s_);
    std::string style = is_numeric(format) ? "n" : format == Format::id ? "id" : "";
    const std::string_view more = text.empty() ? "none" : sign_class(value, format);
    if (!more.empty()) style += (style.empty() ? "" : " ") + std::string(more);
    out_ += style.empty() ? "<td>" : "<td class=\"" + style + "\">";
    out_ += (text.empty() ? "\u2013" : escape_html(text)) + "</td>";
  }

  void write(const LineChart& block) {
    head(block.title, block.subtitle);
    if (block.points.empty()) return empty(block.empty);
    out_ += chart_svg(block, offset_s_);
  }

  void write(const BarChart& block) {
    head(block.title, block.subtitle);
    if (block.bars.empty()) return empty(block.empty);
    out_ += chart_svg(block);
  }

  void write(const Note& block) {
    out_ += "<div class=\"finding " + std::string(name_of(block.severity)) +
            "\"><span class=\"mark\" aria-hidden=\"true\">" + std::string(mark_of(block.severity)) +
            "</span><div><p>";
    if (!block.head.empty()) out_ += "<b>" + escape_html(block.head) + "</b> ";
    out_ += escape_html(block.text) + "</p></div></div>";
  }

  const Report& report_;
  std::int32_t offset_s_;
  std::string out_;
};

}  // namespace

std::string render_html(const Report& report) { return Writer(report).page(); }
std::string render_mail_html(const Report& report) { return Writer(report).mail(); }

}  // namespace ephor::reporter
