#include "chat/runtime.h"

#include <algorithm>

#include "chat/operators.h"

namespace spate::chat {

Bound::Bound(std::string_view what, const Arguments& arguments,
             std::initializer_list<std::string_view> names, std::int64_t n_required)
    : what_(what), values_(names.size(), nullptr) {
  const std::string callee(what);
  if (arguments.positional.size() > names.size()) {
    fail(callee + " takes at most " + std::to_string(names.size()) + " arguments, not " +
         std::to_string(arguments.positional.size()));
  }
  for (std::size_t i = 0; i < arguments.positional.size(); ++i)
    values_[i] = &arguments.positional[i];
  for (const Pair& named : arguments.named) {
    const auto* at = std::find(names.begin(), names.end(), named.key.text());
    if (at == names.end()) fail(callee + " has no parameter '" + named.key.text() + "'");
    const Value*& slot = values_[static_cast<std::size_t>(at - names.begin())];
    if (slot != nullptr) fail(callee + " got two values for '" + named.key.text() + "'");
    slot = &named.value;
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(n_required); ++i) {
    if (values_[i] == nullptr)
      fail(callee + " needs its argument '" + std::string(names.begin()[i]) + "'");
  }
}

std::int64_t Bound::integer(std::size_t i, std::int64_t otherwise) const {
  return has(i) ? to_index(*values_[i], "an argument of " + std::string(what_)) : otherwise;
}

bool Bound::boolean(std::size_t i, bool otherwise) const {
  return values_[i] == nullptr ? otherwise : truthy(*values_[i]);
}

std::string_view Bound::text(std::size_t i, std::string_view otherwise) const {
  if (values_[i] == nullptr) return otherwise;
  if (!values_[i]->is_string()) fail_operand(std::string(what_), *values_[i]);
  return values_[i]->text();
}

}  // namespace spate::chat
