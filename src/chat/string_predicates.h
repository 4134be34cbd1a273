// The methods of str that begin with "is".
#pragma once

#include "chat/runtime.h"

namespace spate::chat {

Value string_isalnum(Runtime& rt, const Value& self, const Arguments& arguments);
Value string_isalpha(Runtime& rt, const Value& self, const Arguments& arguments);
Value string_isascii(Runtime& rt, const Value& self, const Arguments& arguments);
Value string_isdecimal(Runtime& rt, const Value& self, const Arguments& arguments);
Value string_isdigit(Runtime& rt, const Value& self, const Arguments& arguments);
Value string_isidentifier(Runtime& rt, const Value& self, const Arguments& arguments);
Value string_islower(Runtime& rt, const Value& self, const Arguments& arguments);
Value string_isnumeric(Runtime& rt, const Value& self, const Arguments& arguments);
Value string_isprintable(Runtime& rt, const Value& self, const Arguments& arguments);
Value string_isspace(Runtime& rt, const Value& self, const Arguments& arguments);
Value string_istitle(Runtime& rt, const Value& self, const Arguments& arguments);
Value string_isupper(Runtime& rt, const Value& self, const Arguments& arguments);

}  // namespace spate::chat
