/*-------------------------------------------------------------------------
 *
 * relations.c
 *	  Which relation is one of our tables, and all that has to be known to
 *	  write its rows.
 *
 * A relation is ours when it, or the root of the partition tree that it is
 * part of, is a member of the extension and has one of five names.  So a
 * stranger's table of the same name is not ours, and partitions, which are no
 * members, are.  This is asked of the catalogs as they were when the row was
 * changed: under the historic snapshot of the change.  The answer is cached
 * by relation, "not ours" as well, so that a row of any other table costs one
 * hash probe.  (Taking a table out of the extension does not invalidate its
 * relcache entry; decoding that began before goes on telling of it.)
 *
 * A partition may have its columns at other places than the root.  The tuple
 * is never converted: each of the root's columns knows its place in the
 * partition's tuple.
 *
 * There are two caches.  The plugin's is of the catalogs as they were; who
 * reads the tables as they are now (live.c) has another one, which may well
 * know the same relation differently.
 *
 * Memory: a cache has a context of its own, the plugin's below that of the
 * decoding context, and every one of our tables a context below that.  An
 * invalidation can arrive in the middle of anything that looks at a catalog, so
 * it only clears flags; the memory goes when the relation is looked up the
 * next time, or when the next transaction begins (a dropped relation is never
 * looked up again; the live cache keeps it).  Invalidation callbacks cannot be
 * unregistered and outlive the decoding context: they do nothing to a cache
 * that is not there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/attmap.h"
#include "access/sysattr.h"
#include "catalog/dependency.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "decode.h"
#include "openhr_msg.h"

/* Our tables, and the columns that the header of an event is made from. */
typedef struct TableName
{
	const char *name;
	const char *conversation;
	const char *profile;
	const char *seq;
	const char *version;
	const char *deleted;
	const char *revoked;
} TableName;

static const TableName table_names[EVENT_SOURCES] = {
	[EVENT_CONVERSATIONS] = {"conversations", "id"},
	[EVENT_PARTICIPANTS] = {"conversation_participants",
	"conversation_id", "profile_id"},
	[EVENT_MESSAGES] = {"messages",
	"conversation_id", "sender_profile_id", "seq", "version", "is_deleted"},
	[EVENT_BROADCASTS] = {"broadcasts", "conversation_id"},
	[EVENT_REVOCATIONS] = {"token_revocations", .profile = "profile_id",
	.revoked = "revoked_at"},
};

typedef struct CacheEntry
{
	Oid			relid;			/* hash key: must be first */
	bool		valid;
	bool		filled;			/* no error on the way */
	DecodeTable *table;			/* NULL: not ours */
} CacheEntry;

typedef struct Cache
{
	HTAB	   *entries;		/* of CacheEntry; NULL: there is no cache */
	MemoryContext context;
	dlist_head	tables;			/* all DecodeTables in it */
	bool		stale;			/* some entry is not valid */
} Cache;

static Cache historic;			/* while decoding */
static Cache live;				/* from its first use on */

static void
invalidate(Cache *cache, CacheEntry *entry)
{
	entry->valid = false;
	cache->stale = true;
}

static void
invalidate_relid(Cache *cache, Oid relid)
{
	CacheEntry *entry = hash_search(cache->entries, &relid, HASH_FIND, NULL);

	if (entry)
		invalidate(cache, entry);
}

static void
invalidate_all(Cache *cache)
{
	HASH_SEQ_STATUS status;
	CacheEntry *entry;

	hash_seq_init(&status, cache->entries);
	while ((entry = hash_seq_search(&status)) != NULL)
		invalidate(cache, entry);
}

/* A root's change concerns its partitions: its name is theirs. */
static void
relation_changed(Cache *cache, Oid relid)
{
	dlist_iter	iter;

	if (cache->entries == NULL)
		return;
	if (!OidIsValid(relid))
	{
		invalidate_all(cache);
		return;
	}
	invalidate_relid(cache, relid);
	dlist_foreach(iter, &cache->tables)
	{
		DecodeTable *table = dlist_container(DecodeTable, node, iter.cur);

		if (table->root == relid)
			invalidate_relid(cache, table->relid);
	}
}

static void
relcache_callback(Datum arg, Oid relid)
{
	relation_changed(&historic, relid);
	relation_changed(&live, relid);
}

/* Columns are listed with the names of their types. */
static bool
uses_type(const DecodeTable *table, uint32 hash)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->column[i].type_hash == hash)
			return true;
	}
	return false;
}

static void
name_changed(Cache *cache, int cacheid, uint32 hash)
{
	dlist_iter	iter;

	if (cache->entries == NULL)
		return;
	dlist_foreach(iter, &cache->tables)
	{
		DecodeTable *table = dlist_container(DecodeTable, node, iter.cur);

		if (cacheid != TYPEOID || hash == 0 || uses_type(table, hash))
			invalidate_relid(cache, table->relid);
	}
}

static void
syscache_callback(Datum arg, int cacheid, uint32 hash)
{
	name_changed(&historic, cacheid, hash);
	name_changed(&live, cacheid, hash);
}

/* The plugin's goes away with the decoding context. */
static void
forget_cache(void *arg)
{
	historic.entries = NULL;
	historic.context = NULL;
}

static void
register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, syscache_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, syscache_callback, (Datum) 0);
	registered = true;
}

static void
make_cache(Cache *cache, MemoryContext parent)
{
	HASHCTL		ctl = {0};

	register_callbacks();
	cache->context = AllocSetContextCreate(parent, "openhr_msg relations",
										   ALLOCSET_DEFAULT_SIZES);
	dlist_init(&cache->tables);
	cache->stale = false;
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(CacheEntry);
	ctl.hcxt = cache->context;
	cache->entries = hash_create("openhr_msg relations", 128, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
decode_relations_init(MemoryContext parent)
{
	MemoryContextCallback *callback;

	make_cache(&historic, parent);
	callback = MemoryContextAlloc(historic.context, sizeof(*callback));
	callback->func = forget_cache;
	callback->arg = NULL;
	MemoryContextRegisterResetCallback(historic.context, callback);
}

static void
free_table(CacheEntry *entry)
{
	if (entry->table == NULL)
		return;
	dlist_delete(&entry->table->node);
	MemoryContextDelete(entry->table->context);
	entry->table = NULL;
}

/*
 * Drop what is not valid any more.  For the time between two transactions,
 * when nobody holds a pointer into the cache.
 */
void
decode_relations_prune(void)
{
	HASH_SEQ_STATUS status;
	CacheEntry *entry;

	if (!historic.stale)
		return;
	hash_seq_init(&status, historic.entries);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (entry->valid)
			continue;
		free_table(entry);
		hash_search(historic.entries, &entry->relid, HASH_REMOVE, NULL);
	}
	historic.stale = false;
}

/*
 * The root of the partition tree.  A partition that is just being detached
 * has no ancestors any more.
 */
static Oid
find_root(Relation relation)
{
	Oid			root = RelationGetRelid(relation);
	List	   *ancestors;

	if (!relation->rd_rel->relispartition)
		return root;
	ancestors = get_partition_ancestors(root);
	if (ancestors != NIL)
		root = llast_oid(ancestors);
	list_free(ancestors);
	return root;
}

static bool
is_member(Oid relid)
{
	Oid			extension = get_extension_oid(MSG_EXTENSION, true);

	return OidIsValid(extension) &&
		getExtensionOfObject(RelationRelationId, relid) == extension;
}

/* Which of our tables is it?  -1: none.  The name is the cheaper question. */
static int
which_table(Relation root)
{
	for (int i = 0; i < EVENT_SOURCES; i++)
	{
		if (strcmp(RelationGetRelationName(root), table_names[i].name) == 0)
			return is_member(RelationGetRelid(root)) ? i : -1;
	}
	return -1;
}

/* Is the attribute part of the leaf's replica identity? */
static bool
in_identity(Relation leaf, Bitmapset *identity, AttrNumber attnum)
{
	if (leaf->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		return true;
	return bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber,
						 identity);
}

static void
init_column(DecodeColumn *column, Form_pg_attribute att, MemoryContext cxt)
{
	StringInfoData key;

	initStringInfo(&key);
	appendStringInfoChar(&key, ',');
	decode_append_key(&key, NameStr(att->attname));
	column->key = key.data;
	column->key_len = key.len;
	column->type_hash = GetSysCacheHashValue1(TYPEOID,
											  ObjectIdGetDatum(att->atttypid));
	decode_type_init(&column->type, att->atttypid, cxt);
}

/* The columns of the root, and where they are in the leaf. */
static void
init_columns(DecodeTable *table, Relation root, Relation leaf)
{
	TupleDesc	desc = RelationGetDescr(root);
	AttrMap    *map = attrmap_by_name(RelationGetDescr(leaf), desc);
	Bitmapset  *identity = RelationGetIdentityKeyBitmap(leaf);

	table->column = palloc0(desc->natts * sizeof(DecodeColumn));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		DecodeColumn *column = &table->column[table->ncolumns];

		if (att->attisdropped || !attribute_is_stored(att))
			continue;
		column->index = map->attnums[i] - 1;
		column->identity = in_identity(leaf, identity, map->attnums[i]);
		init_column(column, att, table->context);
		table->ncolumns++;
	}
}

/* [{"name":"id","type":"uuid"},...] */
static void
init_column_list(DecodeTable *table, TupleDesc desc)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Form_pg_type type;
		HeapTuple	tuple;

		if (att->attisdropped || !attribute_is_stored(att))
			continue;
		tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(att->atttypid));
		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for type %u", att->atttypid);
		type = (Form_pg_type) GETSTRUCT(tuple);

		appendStringInfoString(&list, list.len == 0 ? "[{" : ",{");
		decode_append_key(&list, "name");
		decode_append_string(&list, NameStr(att->attname),
							 strlen(NameStr(att->attname)));
		appendStringInfoChar(&list, ',');
		decode_append_key(&list, "type");
		decode_append_string(&list, NameStr(type->typname),
							 strlen(NameStr(type->typname)));
		appendStringInfoChar(&list, '}');
		ReleaseSysCache(tuple);
	}
	appendStringInfoString(&list, list.len == 0 ? "[]" : "]");
	table->columns = list.data;
	table->columns_len = list.len;
}

/* Place of a column that an event's header needs, if it is as we made it. */
static int
find_column(Relation leaf, const char *name, Oid typid)
{
	TupleDesc	desc = RelationGetDescr(leaf);

	for (int i = 0; name != NULL && i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && att->atttypid == typid &&
			strcmp(NameStr(att->attname), name) == 0)
			return i;
	}
	return -1;
}

static void
init_header(DecodeTable *table, Relation leaf)
{
	const TableName *name = &table_names[table->table];

	table->conversation = find_column(leaf, name->conversation, UUIDOID);
	table->profile = find_column(leaf, name->profile, UUIDOID);
	table->seq = find_column(leaf, name->seq, INT8OID);
	table->version = find_column(leaf, name->version, INT8OID);
	table->deleted = find_column(leaf, name->deleted, BOOLOID);
	table->revoked = find_column(leaf, name->revoked, TIMESTAMPTZOID);
}

/* "table":"messages","schema":"public" */
static void
init_label(DecodeTable *table, Relation root)
{
	const char *name = RelationGetRelationName(root);
	const char *schema = get_namespace_name(RelationGetNamespace(root));
	StringInfoData label;

	if (schema == NULL)
		elog(ERROR, "cache lookup failed for namespace %u",
			 RelationGetNamespace(root));
	initStringInfo(&label);
	decode_append_key(&label, "table");
	decode_append_string(&label, name, strlen(name));
	appendStringInfoChar(&label, ',');
	decode_append_key(&label, "schema");
	decode_append_string(&label, schema, strlen(schema));
	table->label = label.data;
}

static void
init_row(DecodeRow *row, int natts)
{
	row->values = palloc(natts * sizeof(Datum));
	row->nulls = palloc(natts * sizeof(bool));
}

/* All that is allocated on the way stays in the table's own context. */
static DecodeTable *
make_table(Cache *cache, Relation leaf, Relation root, event_table which)
{
	MemoryContext context = AllocSetContextCreate(cache->context,
												  "openhr_msg table",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	DecodeTable *table = palloc0(sizeof(DecodeTable));
	int			natts = RelationGetDescr(leaf)->natts;

	table->context = context;
	table->table = which;
	table->relid = RelationGetRelid(leaf);
	table->root = RelationGetRelid(root);
	init_label(table, root);
	init_columns(table, root, leaf);
	init_column_list(table, RelationGetDescr(root));
	init_header(table, leaf);
	init_row(&table->new_row, natts);
	init_row(&table->old_row, natts);
	dlist_push_tail(&cache->tables, &table->node);

	MemoryContextSwitchTo(caller);
	return table;
}

/*
 * Fill an entry.  It is declared valid first, so that an invalidation that
 * arrives meanwhile is not lost.
 *
 * A partition of ours whose root has another name just now is not ours, but
 * the renaming of the root back will not invalidate it: ask again each time.
 */
static void
fill_entry(Cache *cache, CacheEntry *entry, Relation relation)
{
	Oid			root_oid = find_root(relation);
	Relation	root = relation;
	int			which;

	entry->table = NULL;
	entry->valid = true;
	entry->filled = false;

	if (root_oid != RelationGetRelid(relation))
		root = RelationIdGetRelation(root_oid);
	if (!RelationIsValid(root))
		elog(ERROR, "could not open relation with OID %u", root_oid);

	which = which_table(root);
	if (which >= 0)
		entry->table = make_table(cache, relation, root, which);
	else if (root != relation && is_member(root_oid))
		invalidate(cache, entry);
	entry->filled = true;

	if (root != relation)
		RelationClose(root);
}

static DecodeTable *
look_up(Cache *cache, Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	CacheEntry *entry;
	bool		found;

	entry = hash_search(cache->entries, &relid, HASH_ENTER, &found);
	if (!found || !entry->valid || !entry->filled)
	{
		if (found)
			free_table(entry);
		fill_entry(cache, entry, relation);
	}
	return entry->table;
}

/*
 * What is known of a relation; NULL when it is none of ours.  The result is
 * good until the next call.
 */
DecodeTable *
decode_relation(Relation relation)
{
	return look_up(&historic, relation);
}

/* The same of a relation as it is now, and good until the next such call. */
DecodeTable *
decode_live_relation(Relation relation)
{
	if (live.entries == NULL)
		make_cache(&live, TopMemoryContext);
	return look_up(&live, relation);
}
