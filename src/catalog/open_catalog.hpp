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

// Opens the catalog. Creates it (mode 0600) if it is missing, and brings its schema up to this
// version. unsupported: its schema is newer than this program. corrupt: it is no database, or it is
// damaged. The catalog is thread-safe. After a fork the child must not use it.
Result<std::unique_ptr<ports::Catalog>> open_catalog(const CatalogSettings&);

}  // namespace understudy::catalog
