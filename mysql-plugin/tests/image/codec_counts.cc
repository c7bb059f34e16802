// Fixed loops through the codecs, whose instructions `cargo xtask counts` counts: a row of twelve columns, and its entries in two indexes.
//
//   mysqld list        the names of the loops
//   mysqld run LOOP    runs one and prints how many times it went round
//
// Only what happens inside `measured` is counted, and nothing in there depends on anything but the values below.

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../sample_tables.h"
#include "start.h"

namespace smartengine {

namespace {

constexpr int kTimes = 2000;

/// What is counted: `--toggle-collect` names this function. Whether each turn succeeded.
__attribute__((noinline)) bool measured(int times, const std::function<bool()> &work) {
  for (int turn = 0; turn < times; ++turn) {
    if (!work()) return false;
  }
  return true;
}

struct Loop {
  const char *name;
  std::function<bool()> work;
};

/// Buffers are used again, as a handler does.
struct Loops {
  TwelveColumns table;
  std::unique_ptr<TableCodec> codec;
  ByteBuffer row, row_key, key, value;
  ByteBuffer by_name_key, by_name_value;
  bool unique = false;
  std::vector<Loop> loops;

  Loops() {
    std::string why;
    codec = table.codec(&why);
    if (codec == nullptr) {
      fprintf(stderr, "no codec: %s\n", why.c_str());
      exit(EXIT_FAILURE);
    }
    table.fill();
    const bool made =
        codec->row().encode(table.record(), &row) == 0 && codec->row_index().encode_row_key(table.record(), 0, &row_key) == 0 &&
        codec->index(1).encode_entry(table.record(), row_key.slice_from(kIndexIdSize), &by_name_key, &by_name_value, &unique) == 0;
    if (!made) exit(EXIT_FAILURE);
    loops = {{"encode_row", [&] { return codec->row().encode(table.record(), &value) == 0; }},
             {"decode_row", [&] { return codec->row().decode(row.slice(), nullptr, table.record()) == 0; }},
             {"encode_row_key", [&] { return codec->row_index().encode_row_key(table.record(), 0, &key) == 0; }},
             {"encode_entry", [&] { return entry(1); }},
             {"encode_unique_entry", [&] { return entry(2); }},
             {"decode_entry",
              [&] { return codec->index(1).decode_entry(by_name_key.slice(), by_name_value.slice(), nullptr, table.record()) == 0; }}};
  }

  bool entry(uint index) {
    return codec->index(index).encode_entry(table.record(), row_key.slice_from(kIndexIdSize), &key, &value, &unique) == 0;
  }

  /// Whether the row is still what it was, after whatever loop.
  bool intact() {
    ByteBuffer again;
    return codec->row().encode(table.record(), &again) == 0 && again.slice() == row.slice();
  }
};

}  // namespace

int run(int argc, char **argv) {
  Loops all;
  if (argc == 2 && std::string_view(argv[1]) == "list") {
    for (const Loop &loop : all.loops) puts(loop.name);
    return EXIT_SUCCESS;
  }
  for (const Loop &loop : all.loops) {
    if (argc != 3 || std::string_view(argv[1]) != "run" || std::string_view(argv[2]) != loop.name) continue;
    if (!loop.work() || !measured(kTimes, loop.work) || !all.intact()) {
      fprintf(stderr, "%s does not work\n", loop.name);
      return EXIT_FAILURE;
    }
    printf("%d\n", kTimes);
    return EXIT_SUCCESS;
  }
  fprintf(stderr, "arguments: list | run LOOP\n");
  return EXIT_FAILURE;
}

}  // namespace smartengine
