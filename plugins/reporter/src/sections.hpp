// SPDX-License-Identifier: Apache-2.0
//
// The sections that report kinds are put together from. Each is a pure function of what was asked.
#pragma once

#include "model.hpp"
#include "sources.hpp"

namespace ephor::reporter {

// trading_sections.cpp
Section headline_section(const Sources& sources, const Window& window);
Section equity_section(const Sources& sources, const Window& window);
Section trades_section(const Sources& sources, const Window& window);

// model_sections.cpp
Section models_section(const Sources& sources, const Window& window);
Section ensembles_section(const Sources& sources, const Window& window);

// system_sections.cpp
// `most`: findings shown, the worst first.
Section findings_section(const Sources& sources, const Window& window, std::size_t most);
Section components_section(const Sources& sources, const Window& window);
Section quality_section(const Sources& sources, const Window& window);

// change_section.cpp
// `most`: lines shown, those that are surest to be more than chance first.
Section changes_section(const Sources& sources, const Window& window, std::size_t most);

// A time in the report's zone, with its name.
std::string moment(const Window& window, std::int64_t time_ns);
// What a section says when a plugin gave no figures for it.
std::string no_data_because(const Source& source);
// Said beside figures of a plugin that does not know the period.
void add_period_note(const Source& source, Section& section);

// What figures are over where their plugin counts in whole hours and the period is none of them.
std::string period_note(const Source& source, const Window& window);

}  // namespace ephor::reporter
