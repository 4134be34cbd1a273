// Values of the template language: Python's, as far as a template can see them. Scalars and strings
// are held by value (strings by reference count); everything else is an Object owned by a Heap that
// lives as long as one render, so cycles through namespaces and macros need no collector.
// Thread-compatible: a Heap and its values belong to one render. Immortal strings are shared.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/failure.h"
#include "chat/limits.h"

namespace spate::chat {

class Heap;
struct MethodEntry;  // chat/methods.h

enum class Kind : std::uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kSequence,
  kDict,
  kNamespace,
  kMacro,
  kFunction,
  kMethod,
  kLoop,
  kCycler,
  kJoiner,
};

/// The bytes of a string and what is known about them. `heap` is null for immortal strings, which
/// belong to a parsed template and are never counted.
struct StringRep {
  std::string text{};
  std::int64_t code_points = 0;
  std::int64_t references = 0;
  Heap* heap = nullptr;
};

/// Base of everything a Heap owns.
struct Object {
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;
};

struct Sequence;
struct Dict;

/// One value. Default-constructed: undefined without a name.
class Value {
 public:
  Value() = default;
  Value(const Value& other) : kind_(other.kind_), markup_(other.markup_), bits_(other.bits_) {
    retain();
  }
  Value(Value&& other) noexcept : kind_(other.kind_), markup_(other.markup_), bits_(other.bits_) {
    other.kind_ = Kind::kNone;
  }
  Value& operator=(const Value& other) { return *this = Value(other); }
  Value& operator=(Value&& other) noexcept {
    std::swap(kind_, other.kind_);
    std::swap(markup_, other.markup_);
    std::swap(bits_, other.bits_);
    return *this;
  }
  ~Value() { release(); }

  static Value none() { return Value(Kind::kNone); }
  static Value undefined(const Value& name);
  static Value undefined(StringRep* name);
  static Value boolean(bool b);
  static Value integer(std::int64_t i);
  static Value number(double d);
  static Value string(StringRep* rep);
  static Value object(Kind kind, Object* object);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_string() const { return kind_ == Kind::kString; }
  /// bool counts as an integer, as in Python.
  bool is_integral() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  bool is_numeric() const { return is_integral() || kind_ == Kind::kFloat; }

  bool as_bool() const { return bits_.integer != 0; }
  std::int64_t as_int() const { return bits_.integer; }
  double as_float() const {
    return kind_ == Kind::kFloat ? bits_.real : static_cast<double>(bits_.integer);
  }
  const std::string& text() const { return bits_.string->text; }
  const StringRep* rep() const { return bits_.string; }
  Object* object() const { return bits_.object; }
  Sequence& sequence() const;
  Dict& dict() const;
  /// What was looked up and not found; empty when unknown.
  std::string_view undefined_name() const;

  /// Strings that the `safe` and `escape` filters made: combining them escapes the other side.
  bool markup() const { return markup_; }
  Value with_markup() const;

 private:
  explicit Value(Kind kind) : kind_(kind) {}
  bool counted() const { return kind_ == Kind::kString || kind_ == Kind::kUndefined; }
  void retain() const {
    if (counted() && bits_.string != nullptr && bits_.string->heap != nullptr)
      ++bits_.string->references;
  }
  void release();

  Kind kind_ = Kind::kUndefined;
  bool markup_ = false;
  union Bits {
    std::int64_t integer;
    double real;
    StringRep* string;
    Object* object;
  } bits_ = {0};
};

/// What a Sequence is in Python; they share storage and differ in printing and in what is allowed.
enum class SequenceKind : std::uint8_t { kList, kTuple, kRange, kKeys, kValues, kItems, kIterator };

struct Sequence : Object {
  SequenceKind kind = SequenceKind::kList;
  bool consumed = false;                          // an iterator gives its items once
  std::array<std::int64_t, 3> range = {0, 0, 1};  // start, stop, step of a kRange, for printing
  std::vector<Value> items{};
};

/// A key with its value; also a named argument.
struct Pair {
  Value key{};
  Value value{};
};

/// A dictionary in insertion order. Keys compare as in Python: 1, 1.0 and True are one key.
struct Dict : Object {
  explicit Dict(Heap& heap) : heap_(heap) {}

  std::vector<Pair> entries{};

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  void set(const Value& key, Value value);

 private:
  std::int64_t position(const Value& key) const;
  void index_all();
  void index_one(std::int64_t position);

  Heap& heap_;
  std::vector<std::int32_t> index_{};  // open addressing, power of two; empty while small
};

struct Namespace : Object {
  std::vector<Pair> entries{};

  Value* find(std::string_view name);
};

struct Cycler : Object {
  std::vector<Value> items{};
  std::int64_t position = 0;
};

struct Joiner : Object {
  Value separator{};
  bool used = false;
};

/// A method and the value it was taken from: `x.split`.
struct Method : Object {
  Value self{};
  const MethodEntry* entry = nullptr;
};

/// Owner of all strings and objects of one render, and the meter that bounds it: bytes alive at
/// once, bytes of one value, and steps.
class Heap {
 public:
  explicit Heap(const ChatLimits& limits) : limits_(limits) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;
  ~Heap() = default;

  /// Counts the code points and takes the bytes.
  Value string(std::string text);
  Value list(std::vector<Value> items, SequenceKind kind = SequenceKind::kList);
  Dict* dict();

  template <class T, class... Arguments>
  T* make(Arguments&&... arguments) {
    take(static_cast<std::int64_t>(sizeof(T)) + 32);
    auto owned = std::make_unique<T>(std::forward<Arguments>(arguments)...);
    T* raw = owned.get();
    objects_.push_back(std::move(owned));
    return raw;
  }

  void take(std::int64_t bytes);
  void give(std::int64_t bytes) { used_ -= bytes; }

  /// Counts steps: one per node evaluated, item visited, or 64 bytes moved.
  void work(std::int64_t steps) {
    steps_ += steps;
    if (steps_ > limits_.max_steps) fail_steps();
  }
  void work_bytes(std::size_t bytes) { work(static_cast<std::int64_t>(bytes / 64)); }
  /// Refuses a string or list that would be larger than a value may be, before it is built.
  void check_size(double n_bytes) const;

  const ChatLimits& limits() const { return limits_; }

 private:
  [[noreturn]] void fail_steps() const;

  const ChatLimits limits_;
  std::int64_t used_ = 0;
  std::int64_t steps_ = 0;
  std::vector<std::unique_ptr<Object>> objects_{};
};

/// Equality as Python's ==. Refuses nesting deeper than `depth`.
bool equal(Heap& heap, const Value& a, const Value& b, int depth = kMaxValueDepth);
/// Hash consistent with `equal`; throws Failure for what Python cannot hash.
std::size_t hash_of(Heap& heap, const Value& v, int depth = kMaxValueDepth);

}  // namespace spate::chat
