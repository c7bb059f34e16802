// A foreign key as a statement checks it, seen from one of its tables: how the other one's rows are looked for.
//
// The other table is known by the server's dictionary alone: its codecs tell what an entry of its index looks like, and a metadata lock, which is kept to
// the end of the transaction, keeps it as it is. (Where the server foresees the check, it has that lock already; the rows that a replica applies it does
// not look at.) A table whose codecs nobody has made yet gets them here.

#ifndef SMARTENGINE_FOREIGN_LINK_H
#define SMARTENGINE_FOREIGN_LINK_H

#include <memory>
#include <vector>

#include "codec/table_codec.h"
#include "compat.h"
#include "sql/mdl.h"
#include "table/foreign_key.h"
#include "table/table_state.h"

namespace smartengine::foreign {

struct Link {
  Key key;
  std::shared_ptr<const TableCodec> other;  ///< Null: there is no such table, or it has no such index.
  uint index = 0;                           ///< The other's, as its codecs count; it starts with the columns.
  bool finds_one = false;                   ///< At most one entry of it has the values.
  /// The parts of an index of this side's table that are the columns.
  std::vector<const KeyPartCodec *> own;

  bool has_null(const uchar *record) const;
  /// Whether two records of this side have the same bytes in the columns.
  bool same(const uchar *a, const uchar *b) const;
  const IndexCodec &other_index() const { return other->index(index); }
};

/// What a table's rows are held against: from the child's side and from the parent's.
struct Links {
  std::vector<Link> parents;
  std::vector<Link> children;
};

/// Keeps a table as it is to the end of the transaction. 0, or an error that is raised.
int lock_name(THD *thd, const TableName &name, enum_mdl_type type);

/// The links of a table that is open as `table`. 0, or an error number whose cause is kept as `own_error` does.
int find_links(THD *thd, const TABLE_SHARE &share, const TableCodec &own, const Relations &relations, Links *links);

/// Refuses, raising the error, a table whose foreign keys name a parent of another engine.
int check_parents(THD *thd, const dd::Table &table, const TableName &name);

}  // namespace smartengine::foreign

#endif  // SMARTENGINE_FOREIGN_LINK_H
