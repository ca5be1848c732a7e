#pragma once

#include "storage/rbd_stream/diff.hpp"

#include <vector>

namespace understudy::rbd_stream {

struct Diff {
    DiffHead head;
    bool ascending = true;  // its records ascend and do not overlap
};

// The diffs of a file of either format, bottom first, each on the one before it. The whole file has
// been walked when this returns, so the diffs can be read.
Result<std::vector<Diff>> read_structure(const StreamFile& file);

}  // namespace understudy::rbd_stream
