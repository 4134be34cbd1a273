// Rewrites the regular expressions of tokenizer.json, which Hugging Face gives to Oniguruma (Ruby
// syntax, UTF-8), into PCRE2 syntax with the same meaning under UTF and UCP. What differs: \s, \w,
// \h, \v, script names, (?m), {,n}, {n,m}+, {n}?, nested classes and && inside classes.
// Character properties are those of PCRE2's Unicode version.
#pragma once

#include <string>
#include <string_view>

namespace spate {

/// Throws LoadError, which starts with `where`, for what has no equal in PCRE2.
std::string translate_oniguruma(std::string_view pattern, std::string_view where);

}  // namespace spate
