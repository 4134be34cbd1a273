#include "weights/checkpoint.h"

#include <array>
#include <cmath>

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "tests/weights/files.h"
#include "weights/mapped_file.h"

namespace spate {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// One f32 vector of `name`: 1, 2.
std::string vector_file(const std::string& name) {
  constexpr std::array<float, 2> kValues = {1.0F, 2.0F};
  const std::string_view data(reinterpret_cast<const char*>(kValues.data()), sizeof(kValues));
  return aligned_safetensors(
      R"({")" + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", data);
}

std::string refusal(const std::string& folder) {
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder);
  return checkpoint ? "opened" : checkpoint.error().message;
}

TEST(MappedFile, SaysWhyAFileCannotBeMapped) {
  const TemporaryFolder folder;

  EXPECT_THAT(MappedFile::open(folder.file("none")).error().message,
              AllOf(HasSubstr("none"), HasSubstr("No such file")));
  EXPECT_THAT(MappedFile::open(folder.path()).error().message, HasSubstr("not a regular file"));
  ASSERT_EQ(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
  EXPECT_THAT(MappedFile::open(folder.file("pipe")).error().message,
              HasSubstr("not a regular file"));
}

TEST(MappedFile, OfNoBytesIsEmpty) {
  const TemporaryFolder folder;
  const Result<MappedFile> file = MappedFile::open(folder.write("empty", ""));
  ASSERT_TRUE(file);

  EXPECT_EQ(file->size(), 0);
  EXPECT_TRUE(file->bytes().empty());
}

TEST(MappedFile, MovesWithItsBytes) {
  const TemporaryFolder folder;
  Result<MappedFile> first = MappedFile::open(folder.write("f", "bytes"));
  ASSERT_TRUE(first);
  const MappedFile second = std::move(*first);

  EXPECT_EQ(static_cast<char>(second.bytes()[4]), 's');
  EXPECT_EQ(first->size(), 0);
}

TEST(Checkpoint, OpensASingleFileByItsUsualName) {
  const TemporaryFolder folder;
  folder.write("model.safetensors", vector_file("a"));
  folder.write("other.safetensors", vector_file("b"));
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;

  const TensorInfo* a = checkpoint->find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(checkpoint->find("b"), nullptr);
  EXPECT_EQ(a->view.as<float>()[1], 2.0F);
  EXPECT_TRUE(a->mapped);
  EXPECT_EQ(a->file, folder.file("model.safetensors"));
  EXPECT_EQ(checkpoint->n_bytes(), 8);
}

TEST(Checkpoint, OpensTheOnlyFileWhateverItIsCalled) {
  const TemporaryFolder folder;
  folder.write("weights.safetensors", vector_file("a"));

  EXPECT_EQ(refusal(folder.path()), "opened");
  EXPECT_EQ(refusal(folder.file("weights.safetensors")), "opened");
}

TEST(Checkpoint, RefusesFoldersInWhichItCannotChoose) {
  const TemporaryFolder folder;
  EXPECT_THAT(refusal(folder.path()), HasSubstr("no .safetensors at all"));
  EXPECT_THAT(refusal(folder.file("none")), HasSubstr("no such model folder"));

  folder.write("a.safetensors", vector_file("a"));
  folder.write("b.safetensors", vector_file("b"));
  EXPECT_THAT(refusal(folder.path()),
              AllOf(HasSubstr("a.safetensors"), HasSubstr("b.safetensors")));
}

TEST(Checkpoint, StaysValidWhenItIsMoved) {
  const TemporaryFolder folder;
  folder.write("model.safetensors", vector_file("a"));
  Result<Checkpoint> opened = Checkpoint::open(folder.path());
  ASSERT_TRUE(opened);
  const TensorInfo* before = opened->find("a");
  const Checkpoint moved = std::move(*opened);

  EXPECT_EQ(moved.find("a"), before);
  EXPECT_EQ(before->view.as<float>()[0], 1.0F);
}

TEST(Checkpoint, CopiesTensorsThatTheFileMisaligns) {
  const TemporaryFolder folder;
  std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  while (header.size() % 4 != 1) header += ' ';
  const std::string data = vector_file("a").substr(vector_file("a").size() - 8);
  folder.write("model.safetensors", safetensors(header, data));
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint);

  const TensorInfo* a = checkpoint->find("a");
  EXPECT_FALSE(a->mapped);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a->view.data()) % 4, 0U);
  EXPECT_EQ(a->view.as<float>()[1], 2.0F);
}

TEST(Checkpoint, HasNoViewOfWhatItCannotRead) {
  const TemporaryFolder folder;
  folder.write("model.safetensors",
               safetensors(R"({"d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},)"
                           R"("r":{"dtype":"U8","shape":[1,1,1,1,1],"data_offsets":[8,9]}})",
                           "123456789"));
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint);

  EXPECT_FALSE(checkpoint->find("d")->usable());
  EXPECT_FALSE(checkpoint->find("r")->usable());
}

TEST(Checkpoint, FindsModulesByTheBeginningOfNames) {
  const TemporaryFolder folder;
  folder.write("model.safetensors", vector_file("layers.10.weight"));
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint);

  EXPECT_TRUE(checkpoint->has("layers.10"));
  EXPECT_TRUE(checkpoint->has("layers.10.weight"));
  EXPECT_FALSE(checkpoint->has("layers.1"));
  EXPECT_FALSE(checkpoint->has("layers.10.weight.more"));
}

class Shards : public testing::Test {
 protected:
  void index(const std::string& json) { folder_.write("model.safetensors.index.json", json); }

  void SetUp() override {
    folder_.write("1.safetensors", vector_file("a"));
    folder_.write("2.safetensors", vector_file("b"));
  }

  TemporaryFolder folder_;
};

TEST_F(Shards, AreOneCheckpoint) {
  index(R"({"metadata":{},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder_.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;

  EXPECT_EQ(checkpoint->tensors().size(), 2U);
  EXPECT_EQ(checkpoint->find("b")->file, folder_.file("2.safetensors"));
}

TEST_F(Shards, ThatAreMissingAreNamed) {
  index(R"({"weight_map":{"a":"1.safetensors","b":"3.safetensors"}})");
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("shard 3.safetensors is missing"));
}

TEST_F(Shards, ThatContradictTheIndexAreReported) {
  index(R"({"weight_map":{"a":"2.safetensors","b":"1.safetensors"}})");
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("\"a\" should be in 2.safetensors, but is in"));
  index(R"({"weight_map":{"a":"1.safetensors","c":"2.safetensors"}})");
  EXPECT_THAT(refusal(folder_.path()),
              HasSubstr("\"c\" should be in 2.safetensors, but is in none"));
  folder_.write("2.safetensors",
                aligned_safetensors(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                    R"("c":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                                    "xy"));
  index(R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("\"c\""));
}

TEST_F(Shards, ThatShareATensorAreRefused) {
  folder_.write("2.safetensors", vector_file("a"));
  index(R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  EXPECT_THAT(refusal(folder_.path()), AllOf(HasSubstr("tensor \"a\" is in"), HasSubstr("and in")));
}

TEST_F(Shards, OutsideTheFolderAreRefused) {
  index(R"({"weight_map":{"a":"../1.safetensors"}})");
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("not a plain file name"));
}

TEST_F(Shards, NeedAnIndexThatMakesSense) {
  for (const char* json : {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})",
                           R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":""}})"}) {
    index(json);
    EXPECT_THAT(refusal(folder_.path()), HasSubstr("model.safetensors.index.json")) << json;
  }
}

// Dummies -----------------------------------------------------------------------------------------

double deviation(const Tensor& t) {
  double sum = 0;
  for (std::int64_t i = 0; i < t.count(); ++i) {
    const double x = t.as<BF16>()[i].to_float();
    sum += x * x;
  }
  return std::sqrt(sum / static_cast<double>(t.count()));
}

constexpr std::array<std::int64_t, 2> kShape = {300, 1000};

TEST(DummyCheckpoint, LooksLikeFreshlyInitializedWeights) {
  Checkpoint dummy = Checkpoint::dummy({.seed = 1});
  const TensorInfo& w = dummy.create("w", kShape);
  const TensorInfo& norm = dummy.create("norm.weight", std::array<std::int64_t, 1>{8});

  // The standard error of a deviation of n values is 1/sqrt(2n) of it: 0.13 %.
  EXPECT_NEAR(deviation(w.view), 0.02, 0.02 * 0.01);
  EXPECT_EQ(norm.view.as<BF16>()[7].to_float(), 1.0F);
  EXPECT_THAT(w.shape, ElementsAre(300, 1000));
}

TEST(DummyCheckpoint, DependsOnSeedAndNameOnly) {
  Checkpoint one = Checkpoint::dummy({.seed = 1});
  Checkpoint again = Checkpoint::dummy({.seed = 1});
  Checkpoint other = Checkpoint::dummy({.seed = 2});
  const auto first = [](Checkpoint& c, const char* name) {
    const BF16* x = c.create(name, kShape).view.as<BF16>();
    return std::array{x[0].bits, x[1].bits, x[2].bits, x[3].bits};
  };
  first(again, "before");

  EXPECT_EQ(first(one, "w"), first(again, "w"));
  EXPECT_NE(first(one, "w"), first(one, "v"));
  EXPECT_NE(first(one, "w"), first(other, "w"));
}

TEST(DummyCheckpoint, HasOptionalTensorsThatWereNamed) {
  Checkpoint dummy = Checkpoint::dummy({.optional_tensors = {"q_proj.bias"}});

  EXPECT_TRUE(dummy.has("layers.0.q_proj.bias"));
  EXPECT_FALSE(dummy.has("layers.0.o_proj.bias"));
}

TEST(DummyCheckpoint, ForgetsReleasedPages) {
  Checkpoint dummy = Checkpoint::dummy({});
  const Tensor w = dummy.create("w", std::array<std::int64_t, 2>{1 << 11, 1 << 11}).view;
  dummy.release(w);

  EXPECT_EQ(deviation(w), 0.0);
}

TEST(Checkpoint, ReadsReleasedPagesAgain) {
  const TemporaryFolder folder;
  folder.write("model.safetensors", vector_file("a"));
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint);
  checkpoint->release(checkpoint->find("a")->view);

  EXPECT_EQ(checkpoint->find("a")->view.as<float>()[1], 2.0F);
}

}  // namespace
}  // namespace spate
