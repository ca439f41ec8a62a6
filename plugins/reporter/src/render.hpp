// SPDX-License-Identifier: Apache-2.0
//
// The renderers of a report: the same model gives the same bytes.
#pragma once

#include <string>
#include <string_view>

#include "model.hpp"

namespace ephor::reporter {

// The word of the JSON, and the class of the HTML.
std::string_view name_of(Severity severity);

inline constexpr std::string_view kModelSchema = "ephor.report/1";

// The model itself, members in a fixed order; values as they are, times RFC 3339, null for no data.
std::string render_json(const Report& report);

// One file without script or anything to load: inline style and SVG, light and dark, A4 when
// printed.
std::string render_html(const Report& report);

// For the body of a mail, where style sheets and SVG are cut out: the headline, the findings and
// what changed.
std::string render_mail_html(const Report& report);

// SVG of one chart, coloured through the classes of render_html's style sheet.
std::string chart_svg(const LineChart& chart, std::int32_t offset_s);
std::string chart_svg(const BarChart& chart);

}  // namespace ephor::reporter
