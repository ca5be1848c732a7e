#pragma once

#include "base/error.hpp"

#include <stdexcept>
#include <utility>

namespace understudy::sim {

// For what cannot fail: no chance has a say in it.
template <class T>
T got(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().text());
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace understudy::sim
