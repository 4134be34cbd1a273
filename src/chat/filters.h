// Jinja2's filters. pprint, random, striptags, urlize, wordwrap, xmlattr and filesizeformat are
// left out: no chat template was seen to use them.
#pragma once

#include <span>
#include <string_view>

#include "chat/runtime.h"

namespace spate::chat {

struct FilterEntry {
  std::string_view name;
  Value (*run)(Runtime& rt, const Value& input, const Arguments& arguments);
};

/// The filter of this name; null if there is none.
const FilterEntry* find_filter(std::string_view name);
Value run_filter(Runtime& rt, const FilterEntry& filter, const Value& input,
                 const Arguments& arguments);

std::span<const FilterEntry> text_filters();
std::span<const FilterEntry> number_filters();
std::span<const FilterEntry> sequence_filters();
std::span<const FilterEntry> selection_filters();

/// "a.b.0" or 3 as the path from an item to an attribute of it; none means the item itself.
std::vector<Value> attribute_path(Runtime& rt, const Value& attribute);
Value follow_path(Runtime& rt, Value item, const std::vector<Value>& path);
/// Lower case for strings, everything else as it is: how sort and unique ignore case.
Value ignore_case(Runtime& rt, const Value& v);

}  // namespace spate::chat
