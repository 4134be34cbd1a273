// The program: one subcommand a file.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/options.h"

namespace spate::apps {
namespace {

/// One clear line, and where the options are listed.
std::string usage_error(const CLI::App* program, const CLI::Error& error) {
  std::string command = "spate";
  for (const CLI::App* app = program; !app->get_subcommands().empty();) {
    app = app->get_subcommands().front();
    command += " " + app->get_name();
  }
  return std::string("spate: ") + error.what() + "\nsee " + command + " --help\n";
}

int run_program(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of write(), not of the process
  CLI::App program("Spate: an inference engine for large language models", "spate");
  program.set_version_flag("--version", "spate " SPATE_VERSION);
  program.require_subcommand(1);
  program.failure_message(usage_error);
  int exit_code = kDone;
  add_run(program, exit_code);
  add_chat(program, exit_code);
  add_batch(program, exit_code);
  add_score(program, exit_code);
  add_bench(program, exit_code);
  add_inspect(program, exit_code);
  add_tokenize(program, exit_code);
  add_doctor(program, exit_code);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    exit_code = program.exit(e) == 0 ? kDone : kWrongUsage;
  }
  if (std::fflush(stdout) == 0 || exit_code != kDone) return exit_code;
  return fail({ErrorCode::kIo, std::string("standard output: ") + std::strerror(errno)});
}

}  // namespace
}  // namespace spate::apps

int main(int argc, char** argv) {
  try {
    return spate::apps::run_program(argc, argv);
  } catch (const std::exception& e) {  // such as fmt::print's, when stdout is full or closed
    std::fputs("spate: ", stderr);
    std::fputs(e.what(), stderr);
    std::fputs("\n", stderr);
    return spate::apps::kFailed;
  }
}
