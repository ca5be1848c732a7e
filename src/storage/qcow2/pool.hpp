#pragma once

#include "ports/storage.hpp"

#include <memory>
#include <string>

namespace understudy::qcow2 {

struct PoolSettings {
    std::string full_format = "qcow2";  // of a snapshot received without a base: "qcow2" or "raw"
};

// Opens DIRECTORY (absolute; made if it is not there) as a pool of qcow2 layers. conflict: another
// process has it open. README.md says what the directory holds.
Result<std::unique_ptr<ports::StoragePool>> open_qcow2_pool(const std::string& name,
                                                            const std::string& directory,
                                                            const PoolSettings& settings);

}  // namespace understudy::qcow2
