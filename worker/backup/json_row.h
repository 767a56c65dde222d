// A row of COPY text as the JSON object that row_to_json makes of it, where the types are these: numbers as numbers
// (NaN and the infinities as strings, as JSON has none), booleans, json and jsonb embedded, timestamps with a "T",
// arrays as arrays, NULL as null. Everything else is the string of its text form: what row_to_json would take apart,
// such as a composite value or what an extension casts to json, stays a string.
//
// The text is read under the settings that every session pins (ISO dates, UTC).
// Thread safety: pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace pgconvoy::backup {

// Appends the object for one row; `types` as in TableEntry. PGC-EXPORT-ROW when it does not have as many fields as
// `columns`, or is not UTF-8, which JSON must be.
absl::Status AppendJsonRow(const std::vector<std::string>& columns,
                           const std::vector<std::string>& types,
                           std::string_view row,
                           std::string& out);

// "text" with what JSON needs escaped.
void AppendJsonString(std::string_view text, std::string& out);

}  // namespace pgconvoy::backup
