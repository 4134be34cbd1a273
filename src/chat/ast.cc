#include "chat/ast.h"

#include "chat/text.h"

namespace spate::chat {

StringRep* Ast::intern(std::string_view text) {
  if (StringRep* known = find_name(text)) return known;
  StringRep& rep = strings_.emplace_back();
  rep.text = text;
  rep.code_points = count_code_points(text);
  interned_.emplace(rep.text, &rep);
  return &rep;
}

StringRep* Ast::find_name(std::string_view text) const {
  const auto found = interned_.find(text);
  return found == interned_.end() ? nullptr : found->second;
}

}  // namespace spate::chat
