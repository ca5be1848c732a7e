#pragma once

#include "catalog/database.hpp"

namespace understudy::catalog {

// Brings the schema up to this program's version, each migration in a transaction of its own. A
// crash leaves the version before or after it. unsupported: the database is newer than this
// program.
Result<> migrate(Database&);

}  // namespace understudy::catalog
