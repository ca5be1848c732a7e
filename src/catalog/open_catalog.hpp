#pragma once

#include "ports/catalog.hpp"

#include <memory>
#include <string>

namespace understudy::catalog {

struct CatalogSettings {
    std::string backend = "sqlite";  // the only one so far
    std::string path;  // of the database file, or ":memory:" (gone when the catalog is closed)
    Duration busy_timeout = Duration(5000);  // how long another process may hold the file's lock
};

// Opens the catalog, creating it (mode 0600) and bringing its schema up to this version.
// unsupported: its schema is newer than this program; corrupt: it is no database, or damaged.
// The catalog is thread-safe; a process that forks must not use it in the child.
Result<std::unique_ptr<ports::Catalog>> open_catalog(const CatalogSettings&);

}  // namespace understudy::catalog
