#include "weights/safetensors.h"

#include <gmock/gmock.h>

#include "tests/weights/files.h"

namespace spate {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kTwo = R"({"__metadata__":{"format":"pt"},)"
                                  R"("b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
                                  R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

Result<SafetensorsIndex> parse(std::string_view file) {
  return parse_safetensors(as_bytes(file), "x.safetensors");
}

std::string reason(std::string_view header, std::string_view data) {
  const Result<SafetensorsIndex> index = parse(safetensors(header, data));
  return index ? "accepted" : index.error().message;
}

TEST(Safetensors, ListsTensorsInTheOrderOfTheirBytes) {
  const Result<SafetensorsIndex> index = parse(safetensors(kTwo, std::string(20, 'x')));
  ASSERT_TRUE(index) << index.error().message;
  const std::int64_t data = 8 + static_cast<std::int64_t>(kTwo.size());

  ASSERT_EQ(index->tensors.size(), 2U);
  EXPECT_EQ(index->tensors[0].name, "a");
  EXPECT_EQ(index->tensors[1].name, "b");
  EXPECT_EQ(index->tensors[1].dtype, DType::kBF16);
  EXPECT_THAT(index->tensors[1].shape, ElementsAre(2, 3));
  EXPECT_EQ(index->tensors[1].begin, data + 8);
  EXPECT_EQ(index->tensors[1].n_bytes(), 12);
  EXPECT_EQ(index->metadata.at("format"), "pt");
}

TEST(Safetensors, AcceptsWhatTheFormatAllows) {
  EXPECT_EQ(reason("{}", ""), "accepted");
  EXPECT_EQ(reason("{}   ", ""), "accepted");
  EXPECT_EQ(reason(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", "1234"), "accepted");
  EXPECT_EQ(reason(R"({"e":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}})", ""), "accepted");
  EXPECT_EQ(reason(R"({"n":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}})", "12"), "accepted");
}

TEST(Safetensors, KnowsTypesThatSpateDoesNotCompute) {
  const auto index =
      parse(safetensors(R"({"d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", "12345678"));
  ASSERT_TRUE(index);

  EXPECT_FALSE(index->tensors[0].dtype.has_value());
  EXPECT_EQ(index->tensors[0].dtype_name, "F64");
}

TEST(Safetensors, EveryPrefixOfAFileIsRefusedWithItsName) {
  const std::string file = safetensors(kTwo, std::string(20, 'x'));
  for (std::size_t n = 0; n < file.size(); ++n) {
    const auto index = parse(std::string_view(file).substr(0, n));
    ASSERT_FALSE(index) << n;
    EXPECT_EQ(index.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(index.error().message, HasSubstr("x.safetensors: ")) << n;
  }
}

TEST(Safetensors, AFileThatGrewIsRefused) {
  EXPECT_THAT(reason(kTwo, std::string(21, 'x')), HasSubstr("the last tensor ends at byte"));
}

TEST(Safetensors, NoFlippedBitMakesATensorReachOutsideTheFile) {
  const std::string good = safetensors(kTwo, std::string(20, 'x'));
  const std::size_t header_end = 8 + kTwo.size();
  int accepted = 0;
  for (std::size_t bit = 0; bit < header_end * 8; ++bit) {
    std::string file = good;
    file[bit / 8] = static_cast<char>(file[bit / 8] ^ (1 << (bit % 8)));
    const auto index = parse(file);
    if (!index) continue;
    ++accepted;
    for (const SafetensorsEntry& t : index->tensors) {
      EXPECT_GE(t.begin, static_cast<std::int64_t>(header_end));
      EXPECT_LE(t.end, static_cast<std::int64_t>(file.size()));
    }
  }
  EXPECT_LT(accepted, 150);  // names, metadata and BF16 <-> F16 may change unnoticed; little else
}

TEST(Safetensors, RefusesHeaderLengthsThatCannotBe) {
  EXPECT_THAT(parse(std::string(8, '\xff')).error().message, HasSubstr("more than the limit"));
  std::string file(8, '\0');
  file[2] = 1;
  EXPECT_THAT(parse(file).error().message,
              AllOf(HasSubstr("header length at byte 0 is 65536"), HasSubstr("truncated")));
}

TEST(Safetensors, RefusesHeadersThatAreNoObject) {
  EXPECT_THAT(reason("", ""), HasSubstr("not a JSON object"));
  EXPECT_THAT(reason("[]", ""), HasSubstr("not a JSON object"));
  EXPECT_THAT(reason("{\"a\":", ""), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(reason("{} {}", ""), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(reason("{\"a\":3}", ""), HasSubstr("unexpected a number"));
  EXPECT_THAT(reason("{\"a\":{\"dtype\":{}}}", ""),
              HasSubstr("tensor \"a\": unexpected an object"));
}

struct Lie {
  const char *name, *header, *reason;
  int n_bytes = 8;
};

class SafetensorsLie : public testing::TestWithParam<Lie> {};

TEST_P(SafetensorsLie, IsRefusedWithTheTensorAndTheReason) {
  EXPECT_THAT(
      reason(GetParam().header, std::string(static_cast<std::size_t>(GetParam().n_bytes), 'x')),
      AllOf(HasSubstr("tensor \"a\""), HasSubstr(GetParam().reason)));
}

INSTANTIATE_TEST_SUITE_P(
    All, SafetensorsLie,
    testing::Values(
        Lie{"UnknownType", R"({"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})",
            "unknown dtype \"F33\""},
        Lie{"NegativeExtent", R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})",
            "negative number -2 in \"shape\""},
        Lie{"FractionalExtent", R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})",
            "2.0 in \"shape\" is not an integer"},
        Lie{"HugeExtent",
            R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})",
            "18446744073709551615 in \"shape\" is too large"},
        Lie{"TooLargeForAnyInteger",
            R"({"a":{"dtype":"F32","shape":[99999999999999999999999],"data_offsets":[0,8]}})",
            "in \"shape\" is not an integer in range"},
        Lie{"OverflowingShape",
            R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})",
            "has no valid size"},
        Lie{"HalfAByte", R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,8]}})",
            "has no valid size"},
        Lie{"WrongSize", R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})",
            "takes 12 bytes, data_offsets have 8"},
        Lie{"BackwardOffsets", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})",
            "before they begin"},
        Lie{"PastTheEnd", R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})",
            "truncated"},
        Lie{"NegativeOffset", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})",
            "negative number -8 in \"data_offsets\""},
        Lie{"OneOffset", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})",
            "less than two"},
        Lie{"ThreeOffsets", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})",
            "more than two"},
        Lie{"NoShape", R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", "is missing"},
        Lie{"TwoShapes", R"({"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}})",
            "\"shape\" occurs twice"},
        Lie{"NestedShape", R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})",
            "unexpected an array"},
        Lie{"Gap", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
            "leaves a gap after the header"},
        Lie{"Twice",
            R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
            R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
            "\"a\" occurs twice"},
        Lie{"Overlap",
            R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
            R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
            "overlaps b"}),
    [](const auto& test) { return test.param.name; });

TEST(Safetensors, NamesInMessagesAreShortAndPrintable) {
  const std::string name = "\\u001b[2J" + std::string(1000, 'n');
  const std::string message =
      reason(R"({")" + name + R"(":{"dtype":"F33","shape":[],"data_offsets":[0,0]}})", "");

  EXPECT_THAT(message, HasSubstr("\"?[2Jnnn"));
  EXPECT_LT(message.size(), 300U);
}

TEST(Safetensors, MetadataThatIsNotTextIsRefused) {
  EXPECT_THAT(reason(R"({"__metadata__":{"a":1}})", ""), HasSubstr("unexpected a number"));
  EXPECT_THAT(reason(R"({"__metadata__":{"a":"1","a":"2"}})", ""), HasSubstr("occurs twice"));
}

}  // namespace
}  // namespace spate
