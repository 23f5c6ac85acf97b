/* keystead.h: the boundary between the Keystead server and its plugins.
   Written from core/abi by its test `header`; don't edit. Within a major version functions are only
   appended to tables: call one only if the table's `size` covers it. */
#ifndef KEYSTEAD_H
#define KEYSTEAD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Status: it worked. */
#define KS_OK 0u
/* Status: it failed; the buffer holds the reason. */
#define KS_ERR 1u
/* Status: the other side panicked; the buffer holds the message. */
#define KS_PANICKED 2u
/* Status: the operation was cancelled. */
#define KS_CANCELLED 3u
/* Status: the end of a stream (no more snapshot batches, a closed listener). */
#define KS_CLOSED 4u
/* Status: a cursor asked for bytes that are no longer kept. */
#define KS_BEHIND 5u
/* Status: the journal got another history; every cursor ends. */
#define KS_REBASED 6u
/* Status: this host is older than the function asked for. */
#define KS_UNSUPPORTED 7u
/* Status: not possible from inside a turn. */
#define KS_IN_TURN 8u
/* A poll is done; the result is written. */
#define KS_READY 0u
/* A poll is not done; the waker will be woken. */
#define KS_PENDING 1u
/* An I/O poll is not done; the waker will be woken. Other negative values are `-errno`. */
#define KS_IO_PENDING INT64_MIN
/* Log level: error. */
#define KS_LOG_ERROR 1u
/* Log level: warning. */
#define KS_LOG_WARN 2u
/* Log level: information for operators. */
#define KS_LOG_INFO 3u
/* Log level: for us. */
#define KS_LOG_DEBUG 4u
/* Log level: every step. */
#define KS_LOG_TRACE 5u
/* Object kind: a stream of bytes (ks_io_api). */
#define KS_KIND_IO 1u
/* Object kind: a listening socket (ks_listener_api). */
#define KS_KIND_LISTENER 2u
/* Object kind: a reader of the journal (ks_cursor_api). */
#define KS_KIND_CURSOR 3u
/* Object kind: a cut of the keyspace (ks_snapshot_api). */
#define KS_KIND_SNAPSHOT 4u
/* Object kind: a keyspace being filled (ks_load_api). */
#define KS_KIND_LOAD 5u
/* Object kind: a primary's stream being executed (ks_apply_api). */
#define KS_KIND_APPLY 6u
/* Load mode: flush first, then fill in place. */
#define KS_LOAD_FLUSH 0u
/* Load mode: only into an empty keyspace; refused otherwise. */
#define KS_LOAD_ON_EMPTY 1u
/* Load mode: fill a shadow and swap it in with the commit. */
#define KS_LOAD_SHADOW 2u
/* Load mode: as LOAD_ON_EMPTY, but keys that have expired are left out. */
#define KS_LOAD_FRESH 3u
/* Load mode: as LOAD_FLUSH, for data that the journal's readers have already: they are told nothing. The caller holds
   GATE_LOADING itself, over all loads and replays that belong together. */
#define KS_LOAD_AGAIN 4u
/* In the RDB version of a snapshot: strings are not compressed. */
#define KS_RDB_PLAIN 2147483648u
/* In the RDB version of a snapshot: a large record may be split over several batches, each of which counts the
   records that end in it. */
#define KS_RDB_PIECES 1073741824u
/* Cursor class: a replica that is fed the stream. */
#define KS_CURSOR_REPLICA 0u
/* Cursor class: a replica that is still in its full sync; writers are paced for it before it is dropped. */
#define KS_CURSOR_SYNCING 1u
/* Cursor class: persistence; never dropped, writers wait. Outlives another history if it loses no bytes by that. */
#define KS_CURSOR_PERSISTENCE 2u
/* Cursor class: a change feed; told when it fell behind. */
#define KS_CURSOR_FEED 3u
/* Endpoint 0 is the data port's engine. */
#define KS_ENDPOINT_DATA 0u
/* Origin of a command: the plugin's own, as the server's own are; guards for clients don't hold. */
#define KS_ORIGIN_CLIENT 0u
/* Origin of a command: the primary's stream; bypasses read-only, memory limits, pause and logical expiry. */
#define KS_ORIGIN_REPLICATION 1u
/* Origin of a command: data being loaded; nothing is propagated. */
#define KS_ORIGIN_LOADING 2u
/* Role: primary. */
#define KS_ROLE_PRIMARY 0u
/* Role: replica; expired keys are hidden, not deleted. */
#define KS_ROLE_REPLICA 1u
/* Gate: writes of clients are refused with -READONLY. */
#define KS_GATE_READ_ONLY 0u
/* Gate: data is stale, most commands are refused with -MASTERDOWN. */
#define KS_GATE_STALE 1u
/* Gate: data is being loaded, most commands are refused with -LOADING. */
#define KS_GATE_LOADING 2u
/* Gate: too few good replicas, writes are refused with -NOREPLICAS. */
#define KS_GATE_FEW_REPLICAS 3u
/* Gate: the disk failed, writes are refused with -MISCONF. */
#define KS_GATE_DISK_ERROR 4u
/* Gate: data is being loaded while the old data is served (a shadow load). */
#define KS_GATE_ASYNC_LOADING 5u
/* Pause: writes and commands that may replicate. */
#define KS_PAUSE_WRITE 0u
/* Pause: every command. */
#define KS_PAUSE_ALL 1u
/* Kill filter: normal clients. */
#define KS_KILL_NORMAL 1u
/* Kill filter: pub/sub clients. */
#define KS_KILL_PUBSUB 2u
/* Kill filter: replicas. */
#define KS_KILL_REPLICA 4u
/* Kill filter: the link to the primary. */
#define KS_KILL_PRIMARY 8u
/* Kill filter: those whose replies wait for what nobody has confirmed (`confirm`). */
#define KS_KILL_HELD 16u
/* Shutdown: as SIGTERM does it. */
#define KS_SHUTDOWN_CLEAN 0u
/* Shutdown: at once, with a failure as exit code. */
#define KS_SHUTDOWN_FAILED 1u
/* For `write_until` and `enough_replicas_until`: writes rest on nothing that ends. */
#define KS_NO_LEASE UINT64_MAX
/* In ks_history.offset: keep the journal's offset and its bytes. */
#define KS_KEEP_OFFSET UINT64_MAX
/* For `confirm`: this plugin holds no replies. */
#define KS_HOLD_NOTHING UINT64_MAX
/* For `set_durable` and from `durable`: the stream isn't kept on the disk. */
#define KS_NOT_DURABLE UINT64_MAX
/* What a command did: nothing, or no more than was changed through the table, which is propagated as these changes. */
#define KS_CALL_NONE 0u
/* What a command did: propagate it as it was sent. */
#define KS_CALL_AS_SENT 1u
/* What a command did: propagate what `propagate` listed instead. */
#define KS_CALL_LISTED 2u
/* The command failed with what `fail` was told; a partial reply is discarded, nothing may have been changed. */
#define KS_CALL_FAILED 3u
/* The command panicked; treated as failed. */
#define KS_CALL_PANICKED 4u
/* `try_now` only: not answerable now, the session parks and `start` is called. */
#define KS_CALL_NOT_NOW 5u
/* Value kind: no such key. */
#define KS_VALUE_NONE 0u
/* Value kind: string. */
#define KS_VALUE_STRING 1u
/* Value kind: list. */
#define KS_VALUE_LIST 2u
/* Value kind: set. */
#define KS_VALUE_SET 3u
/* Value kind: sorted set. */
#define KS_VALUE_ZSET 4u
/* Value kind: hash. */
#define KS_VALUE_HASH 5u
/* Value kind: one this boundary has no name for. */
#define KS_VALUE_OTHER 6u
/* Value kind: stream. */
#define KS_VALUE_STREAM 7u
/* Client flag: a replica's session. */
#define KS_CLIENT_REPLICA 1u
/* Client flag: inside MULTI; of a command that runs: EXEC runs it. */
#define KS_CLIENT_MULTI 2u
/* Client flag: connected over a unix socket. */
#define KS_CLIENT_UNIX 4u
/* Client flag: authenticated, or no password is set. */
#define KS_CLIENT_AUTHENTICATED 8u
/* Targets of a record: replicas. */
#define KS_TARGET_REPLICAS 1u
/* Targets of a record: persistence. */
#define KS_TARGET_PERSISTENCE 2u
/* Targets of a record: feeds. */
#define KS_TARGET_FEEDS 4u
/* Condition: the guards for clients don't hold for this caller (a primary's stream, a file, the server itself). */
#define KS_COND_OBEY UINT64_C(1)
/* Condition: writes of clients are refused, this is a read-only replica. */
#define KS_COND_READ_ONLY UINT64_C(2)
/* Condition: the data is stale and may not be served. */
#define KS_COND_STALE UINT64_C(4)
/* Condition: the disk failed and writes are refused for it. */
#define KS_COND_DISK_ERROR UINT64_C(8)
/* Condition: too few good replicas for writes. */
#define KS_COND_FEW_REPLICAS UINT64_C(16)
/* Condition: memory is full. */
#define KS_COND_OUT_OF_MEMORY UINT64_C(32)
/* Condition: data is being loaded. */
#define KS_COND_LOADING UINT64_C(64)
/* Condition: a plugin refuses writes (`refuse_writes`); `write_error` says why. */
#define KS_COND_WRITE_ERROR UINT64_C(128)
/* Script call: commands that write or may replicate are refused. */
#define KS_SCRIPT_READ_ONLY 1u
/* Script call: runs although memory is full. */
#define KS_SCRIPT_ALLOW_OOM 2u
/* Script call, in and out: a write has run already; from then on no condition refuses another. */
#define KS_SCRIPT_WROTE 4u
/* Command flag: may change data. */
#define KS_CMD_WRITE UINT64_C(1)
/* Command flag: only reads. */
#define KS_CMD_READONLY UINT64_C(2)
/* Command flag: refused when memory is full. */
#define KS_CMD_DENYOOM UINT64_C(4)
/* Command flag: administration. */
#define KS_CMD_ADMIN UINT64_C(8)
/* Command flag: pub/sub. */
#define KS_CMD_PUBSUB UINT64_C(16)
/* Command flag: not in scripts. */
#define KS_CMD_NOSCRIPT UINT64_C(32)
/* Command flag: may block. */
#define KS_CMD_BLOCKING UINT64_C(64)
/* Command flag: allowed while loading. */
#define KS_CMD_LOADING UINT64_C(128)
/* Command flag: allowed on a replica with stale data. */
#define KS_CMD_STALE UINT64_C(256)
/* Command flag: not shown by MONITOR. */
#define KS_CMD_SKIP_MONITOR UINT64_C(512)
/* Command flag: not in the slow log. */
#define KS_CMD_SKIP_SLOWLOG UINT64_C(1024)
/* Command flag: constant or logarithmic time. */
#define KS_CMD_FAST UINT64_C(2048)
/* Command flag: allowed before AUTH. */
#define KS_CMD_NO_AUTH UINT64_C(4096)
/* Command flag: may replicate though it is no write. */
#define KS_CMD_MAY_REPLICATE UINT64_C(8192)
/* Command flag: not inside MULTI. */
#define KS_CMD_NO_MULTI UINT64_C(16384)
/* Command flag: allowed while a long call runs. */
#define KS_CMD_ALLOW_BUSY UINT64_C(32768)
/* Command flag: `get_keys` says where its keys are. */
#define KS_CMD_MOVABLE_KEYS UINT64_C(0x10000)
/* Command flag: takes the place of the core's command of that name; on the data port only of one without keys. */
#define KS_CMD_REPLACES UINT64_C(0x20000)
/* Command flag: not while other data is loaded beside the one that is served. */
#define KS_CMD_NO_ASYNC_LOADING UINT64_C(0x40000)
/* Command flag: complete without any key although it takes keys. */
#define KS_CMD_NO_MANDATORY_KEYS UINT64_C(0x80000)
/* Command flag: may write no reply at all, as REPLCONF ACK does. One without it that writes none is answered an error,
   unless its plugin was built for boundary 1.0, which had no such flag. */
#define KS_CMD_MAY_BE_SILENT UINT64_C(0x100000)
/* ACL category @keyspace. */
#define KS_ACL_KEYSPACE UINT64_C(1)
/* ACL category @read. */
#define KS_ACL_READ UINT64_C(2)
/* ACL category @write. */
#define KS_ACL_WRITE UINT64_C(4)
/* ACL category @set. */
#define KS_ACL_SET UINT64_C(8)
/* ACL category @sortedset. */
#define KS_ACL_SORTEDSET UINT64_C(16)
/* ACL category @list. */
#define KS_ACL_LIST UINT64_C(32)
/* ACL category @hash. */
#define KS_ACL_HASH UINT64_C(64)
/* ACL category @string. */
#define KS_ACL_STRING UINT64_C(128)
/* ACL category @bitmap. */
#define KS_ACL_BITMAP UINT64_C(256)
/* ACL category @hyperloglog. */
#define KS_ACL_HYPERLOGLOG UINT64_C(512)
/* ACL category @geo. */
#define KS_ACL_GEO UINT64_C(1024)
/* ACL category @stream. */
#define KS_ACL_STREAM UINT64_C(2048)
/* ACL category @pubsub. */
#define KS_ACL_PUBSUB UINT64_C(4096)
/* ACL category @admin. */
#define KS_ACL_ADMIN UINT64_C(8192)
/* ACL category @fast. */
#define KS_ACL_FAST UINT64_C(16384)
/* ACL category @slow. */
#define KS_ACL_SLOW UINT64_C(32768)
/* ACL category @blocking. */
#define KS_ACL_BLOCKING UINT64_C(0x10000)
/* ACL category @dangerous. */
#define KS_ACL_DANGEROUS UINT64_C(0x20000)
/* ACL category @connection. */
#define KS_ACL_CONNECTION UINT64_C(0x40000)
/* ACL category @transaction. */
#define KS_ACL_TRANSACTION UINT64_C(0x80000)
/* ACL category @scripting. */
#define KS_ACL_SCRIPTING UINT64_C(0x100000)
/* Parameter flag: CONFIG SET is refused. */
#define KS_PARAM_IMMUTABLE 1u
/* Parameter flag: never logged or shown. */
#define KS_PARAM_SECRET 2u
/* Connection event: a session begins. */
#define KS_CONN_OPEN 0u
/* Connection event: a session ended. */
#define KS_CONN_CLOSE 1u
/* Fault policy: the plugin is stopped, the server goes on. Gates that it closed, and moments that it gave (`write_until`), stay
   as they are: it may open them in its `stop`, which is called with KS_STOP_FAULTED. */
#define KS_FAULT_CONTINUE 0u
/* Fault policy: writes are refused from then on. */
#define KS_FAULT_STOP_WRITES 1u
/* Fault policy: the server ends. */
#define KS_FAULT_EXIT 2u
/* `KEYSTEAD` in ASCII, little endian. */
#define KS_MAGIC UINT64_C(0x444145545359454B)
/* The major version of this boundary: hosts refuse any other. */
#define KS_ABI_MAJOR 1u
/* The minor version: what was appended since the major. 1: `flags_now` and KS_CMD_MAY_BE_SILENT. 2: `enough_replicas_until`. */
#define KS_ABI_MINOR 2u
/* Declaration flag: the library was built with panic=abort (a panic would end the server: refused). */
#define KS_DECL_PANIC_ABORT UINT64_C(1)
/* Declaration flag: the plugin serves a port of its own and needs no data port. */
#define KS_DECL_ENDPOINT_ONLY UINT64_C(2)
/* Stopped because the server shuts down. */
#define KS_STOP_SHUTDOWN 0u
/* Stopped because the plugin is unloaded. Reserved. */
#define KS_STOP_UNLOAD 1u
/* Stopped because a newer copy takes over. Reserved. */
#define KS_STOP_REPLACED 2u
/* Stopped because it panicked. */
#define KS_STOP_FAULTED 3u
/* How the server is to end: save, configured or not. */
#define KS_ENDING_SAVE 1u
/* How the server is to end: don't save, configured or not. */
#define KS_ENDING_NOSAVE 2u
/* How the server is to end: don't wait for replicas that lag. */
#define KS_ENDING_NOW 4u
/* How the server is to end: whatever fails; a refusal is only logged. */
#define KS_ENDING_FORCE 8u

typedef struct ks_str ks_str;
typedef struct ks_buf ks_buf;
typedef struct ks_waker ks_waker;
typedef struct ks_waker_api ks_waker_api;
typedef struct ks_object ks_object;
typedef struct ks_object_api ks_object_api;
typedef struct ks_out ks_out;
typedef struct ks_future ks_future;
typedef struct ks_io_api ks_io_api;
typedef struct ks_listener_api ks_listener_api;
typedef struct ks_cursor_api ks_cursor_api;
typedef struct ks_cursor_place ks_cursor_place;
typedef struct ks_snapshot_api ks_snapshot_api;
typedef struct ks_load_api ks_load_api;
typedef struct ks_apply_api ks_apply_api;
typedef struct ks_host ks_host;
typedef struct ks_history ks_history;
typedef struct ks_journal_state ks_journal_state;
typedef struct ks_role ks_role;
typedef struct ks_kill_filter ks_kill_filter;
typedef struct ks_host_api ks_host_api;
typedef struct ks_client_info ks_client_info;
typedef struct ks_script_call ks_script_call;
typedef struct ks_ctx ks_ctx;
typedef struct ks_ctx_api ks_ctx_api;
typedef struct ks_registrar ks_registrar;
typedef struct ks_command_spec ks_command_spec;
typedef struct ks_conn ks_conn;
typedef struct ks_info_spec ks_info_spec;
typedef struct ks_param_spec ks_param_spec;
typedef struct ks_write_event ks_write_event;
typedef struct ks_service_spec ks_service_spec;
typedef struct ks_need_spec ks_need_spec;
typedef struct ks_endpoint_spec ks_endpoint_spec;
typedef struct ks_section_spec ks_section_spec;
typedef struct ks_registrar_api ks_registrar_api;
typedef struct ks_plugin_decl ks_plugin_decl;
typedef struct ks_config_text ks_config_text;
typedef struct ks_config_error ks_config_error;
typedef struct ks_instance ks_instance;
typedef struct ks_instance_api ks_instance_api;

/* Borrowed bytes: valid for the call they are passed to, never NUL terminated. */
struct ks_str {
  /* First byte; may be NULL if `len` is 0. */
  const uint8_t* ptr;
  /* Number of bytes. */
  size_t len;
};

/* Owned bytes: whoever receives them calls `drop(owner)` once when done with them. `drop` may be NULL. */
struct ks_buf {
  /* First byte; may be NULL if `len` is 0. */
  const uint8_t* ptr;
  /* Number of bytes. */
  size_t len;
  /* What `drop` is called with. */
  void* owner;
  /* Gives the memory back to the side that allocated it. */
  void (*drop)(void* owner);
};

/* The head of a waker. The object behind it belongs to whoever made it and starts with this. */
struct ks_waker {
  /* What can be done with it. */
  const ks_waker_api* api;
};

/* What can be done with a waker; every function may be called from any thread. */
struct ks_waker_api {
  /* `sizeof` of this table on the side that made it. */
  uint32_t size;
  /* Zero. */
  uint32_t reserved;
  /* A second, owned reference; a waker passed to a poll is only borrowed. */
  const ks_waker* (*clone)(const ks_waker* waker);
  /* Wakes and drops an owned reference. */
  void (*wake)(const ks_waker* waker);
  /* Wakes and keeps the reference. */
  void (*wake_by_ref)(const ks_waker* waker);
  /* Drops an owned reference. */
  void (*drop)(const ks_waker* waker);
};

/* An object with a table of functions of its own; `api` points to a table that starts with ks_object_api. */
struct ks_object {
  /* The first argument of every function of the table. NULL: no object. */
  void* data;
  /* The table. */
  const ks_object_api* api;
};

/* The start of every object's table. */
struct ks_object_api {
  /* `sizeof` of the whole table on the side that made it. */
  uint32_t size;
  /* Which table it is: KS_KIND_*. */
  uint32_t kind;
  /* Drops the object. */
  void (*drop)(void* data);
};

/* The result of every asynchronous call. What `a`, `b`, `buf` and the objects mean is said at each function. */
struct ks_out {
  /* KS_OK, KS_ERR, … */
  uint32_t status;
  /* A second word of status. */
  uint32_t code;
  /* First number. */
  uint64_t a;
  /* Second number. */
  uint64_t b;
  /* Bytes, or the reason of a failure. */
  ks_buf buf;
  /* First object. */
  ks_object object;
  /* Second object. */
  ks_object object2;
};

/* A future, in both directions. It is polled by one thread at a time and dropped exactly once. */
struct ks_future {
  /* The first argument of both functions. */
  void* data;
  /* KS_READY or KS_PENDING. After KS_READY it isn't polled again. NULL: ready at once with KS_OK and nothing. */
  uint32_t (*poll)(void* data, const ks_waker* waker, ks_out* out);
  /* Drops the future, whether it finished or not. May be NULL. */
  void (*drop)(void* data);
};

/* A stream of bytes. Polls return a count, KS_IO_PENDING, or `-errno`. */
struct ks_io_api {
  /* `sizeof` of this table. */
  uint32_t size;
  /* KS_KIND_IO. */
  uint32_t kind;
  /* Closes and drops. */
  void (*drop)(void* data);
  /* Reads up to `len` bytes; 0 is the end. */
  int64_t (*poll_read)(void* data, const ks_waker* waker, uint8_t* buf, size_t len);
  /* Writes up to `len` bytes. */
  int64_t (*poll_write)(void* data, const ks_waker* waker, const uint8_t* buf, size_t len);
  /* Flushes. */
  int64_t (*poll_flush)(void* data, const ks_waker* waker);
  /* Shuts down. */
  int64_t (*poll_close)(void* data, const ks_waker* waker);
  /* The peer's address as `ip:port`, or empty. */
  void (*peer)(void* data, ks_buf* out);
  /* The own address as `ip:port`, or empty. */
  void (*local)(void* data, ks_buf* out);
};

/* A listening socket. */
struct ks_listener_api {
  /* `sizeof` of this table. */
  uint32_t size;
  /* KS_KIND_LISTENER. */
  uint32_t kind;
  /* Closes and drops. */
  void (*drop)(void* data);
  /* `object` = the stream (ks_io_api), `buf` = the peer's address. */
  uint32_t (*poll_accept)(void* data, const ks_waker* waker, ks_out* out);
  /* The own address as `ip:port`. */
  void (*local)(void* data, ks_buf* out);
};

/* A reader of the journal's replication stream. */
struct ks_cursor_api {
  /* `sizeof` of this table. */
  uint32_t size;
  /* KS_KIND_CURSOR. */
  uint32_t kind;
  /* Drops the cursor and what it pins. */
  void (*drop)(void* data);
  /* The next bytes, at most `max`: `buf` = bytes, `a` = offset of the first. Pending while there are none.
     Status KS_BEHIND or KS_REBASED ends the cursor; KS_IN_TURN doesn't. */
  uint32_t (*poll_read)(void* data, const ks_waker* waker, size_t max, ks_out* out);
  /* The offset of the next byte to be read. */
  uint64_t (*offset)(void* data);
  /* Moves the cursor to another class: KS_CURSOR_*. */
  void (*set_class)(void* data, uint32_t cursor_class);
  /* Where the bytes given so far end. */
  void (*place)(void* data, ks_cursor_place* out);
  /* Lets the cursor end (KS_CLOSED) at a journal position: the place of another cursor that goes on there. */
  void (*stop_at)(void* data, uint64_t position);
  /* Done when the cursor has ended, whether or not it is read; lives on its own. The status is that of `poll_read`. */
  ks_future (*ended)(void* data);
  /* What the log calls its reader. */
  void (*set_name)(void* data, ks_str name);
};

/* A place in the journal. */
struct ks_cursor_place {
  /* The position: counts every byte of the journal, whoever it is for. */
  uint64_t position;
  /* The replication offset there. */
  uint64_t offset;
  /* The replication id there, 40 hex characters; all `0` while the data belongs to no known history. */
  uint8_t replid[40];
  /* The database that the replication stream has selected there; -1 if none. */
  int32_t db;
  /* 1 if a unit ends there. The other fields are exact only then. */
  uint32_t unit_end;
};

/* A cut of the keyspace, read in batches of RDB records while writes go on. */
struct ks_snapshot_api {
  /* `sizeof` of this table. */
  uint32_t size;
  /* KS_KIND_SNAPSHOT. */
  uint32_t kind;
  /* Drops the cut; what was not read is let go. */
  void (*drop)(void* data);
  /* `a` = db, `b` = number of records, `buf` = the records. Status KS_CLOSED: that was all. */
  uint32_t (*poll_next)(void* data, const ks_waker* waker, ks_out* out);
  /* The replication offset of the cut. */
  uint64_t (*offset)(void* data);
  /* How many keys there were at the cut. */
  uint64_t (*keys)(void* data);
  /* The database the replication stream has selected at the cut; -1 if a SELECT follows. */
  int64_t (*stream_db)(void* data);
  /* The history at the cut; its `offset` is that of the cut. */
  void (*history)(void* data, ks_history* out);
  /* How many changes were made to the keys up to the cut, as `ks_ctx_api.changes` counts. */
  uint64_t (*changes)(void* data);
  /* What plugins keep beside the keys, as of the cut: records as they stand in an RDB file, opcode first. */
  void (*sections)(void* data, ks_buf* out);
};

/* A keyspace being filled. Dropped without a commit it is aborted. */
struct ks_load_api {
  /* `sizeof` of this table. */
  uint32_t size;
  /* KS_KIND_LOAD. */
  uint32_t kind;
  /* Aborts if not committed. */
  void (*drop)(void* data);
  /* Adds a batch of `count` records to `db`; `a` = how many keys were added, `b` = how many were left out as expired. */
  ks_future (*put)(void* data, uint32_t db, uint32_t count, ks_buf records);
  /* Makes it the keyspace. `a` = how many keys there are. */
  ks_future (*commit)(void* data);
  /* Adds records of plugins (one opcode's, as they stand in the file), which take effect with the commit. `a` = 1 if
     a plugin takes them. */
  ks_future (*put_section)(void* data, uint32_t opcode, ks_buf records);
};

/* A primary's raw stream, executed with origin replication; the identical bytes go to the own journal. */
struct ks_apply_api {
  /* `sizeof` of this table. */
  uint32_t size;
  /* KS_KIND_APPLY. */
  uint32_t kind;
  /* Drops the stream and a partial unit. */
  void (*drop)(void* data);
  /* Executes what is complete. `a` = offset at the last unit end, `b` = how many REPLCONF GETACK were met;
     `buf` = for each of them the offset before it, 8 bytes little endian. */
  ks_future (*feed)(void* data, ks_buf bytes);
  /* Drops a partial unit: the link was lost and resumes from the last end. */
  void (*reset)(void* data);
  /* The offset at the last unit end. */
  uint64_t (*offset)(void* data);
};

/* A host: a table and its first argument. */
struct ks_host {
  /* The first argument of every function of the table. */
  void* data;
  /* The table; valid as long as the process lives. */
  const ks_host_api* api;
};

/* Where a history starts: replid, the one before it, and up to where that one is valid. */
struct ks_history {
  /* 40 hex characters. */
  uint8_t replid[40];
  /* 40 hex characters; all `0` if there is none. */
  uint8_t replid2[40];
  /* The second replid is valid for offsets up to this one; -1 if there is none. */
  int64_t second_offset;
  /* The offset the journal continues from; KS_KEEP_OFFSET keeps it and every byte that is there. */
  uint64_t offset;
};

/* The journal at one moment. */
struct ks_journal_state {
  /* The history. */
  ks_history history;
  /* The replication offset: bytes ever appended. */
  uint64_t offset;
  /* The offset of the first byte that is kept. */
  uint64_t first;
  /* How many bytes are kept. */
  uint64_t len;
  /* `repl-backlog-size`. */
  uint64_t size;
  /* 1 if a backlog exists. */
  uint32_t active;
  /* The database the last record was for; -1 if the next record must carry a SELECT. */
  int32_t db;
};

/* What this node is. */
struct ks_role {
  /* KS_ROLE_*. */
  uint32_t role;
  /* The primary's port, for a replica. */
  uint32_t port;
  /* The primary's host, for a replica. */
  ks_str host;
};

/* Which sessions to close: those of a kind in `kinds`, or the one with `id`. */
struct ks_kill_filter {
  /* KS_KILL_*, or 0 when `id` says it. */
  uint32_t kinds;
  /* Zero. */
  uint32_t reserved;
  /* A session's id; 0 for none. */
  uint64_t id;
  /* A session that stays; 0 for none. */
  uint64_t except;
};

/* What the core offers. The first argument of each is `ks_host.data`. */
struct ks_host_api {
  /* `sizeof` of this table on the host. */
  uint32_t size;
  /* KS_ABI_MAJOR of the host. */
  uint32_t abi_major;
  /* KS_ABI_MINOR of the host. */
  uint32_t abi_minor;
  /* Zero. */
  uint32_t reserved;
  /* Logs a line as `plugin::<name>`. */
  void (*log)(void* host, uint32_t level, ks_str target, ks_str message);
  /* The most talkative level that is printed: KS_LOG_*, 0 for none. */
  uint32_t (*log_level)(void* host);
  /* Microseconds since some moment before the server's start; never goes back. */
  uint64_t (*now_us)(void* host);
  /* Milliseconds since 1970 by the machine's clock. */
  uint64_t (*unix_ms)(void* host);
  /* Fills memory with random bytes of the system. */
  void (*random)(void* host, uint8_t* buf, size_t len);
  /* A fact or a parameter of the server by name (`port`, `bind`, `dir`, `run_id`, `version`, `stat_resets`, …; every CONFIG
     parameter under Redis' name). KS_OK, or KS_ERR if there is none. From what a turn calls without a context (a hook, a
     parameter, a section) the engine can't be asked: a parameter of CONFIG has the value of the start then, or none. */
  uint32_t (*setting)(void* host, uint32_t endpoint, ks_str name, ks_buf* out);
  /* Runs a future as a task of the plugin's group. The task's id. It must not block: the threads are few and everybody's. */
  uint64_t (*spawn)(void* host, ks_future future);
  /* Cancels a task; no effect if it is done. */
  void (*cancel)(void* host, uint64_t task);
  /* Ready after a time. */
  ks_future (*sleep_us)(void* host, uint64_t us);
  /* Calls `run(data)` on a thread that may block, then is ready. `drop(data)` is called once, run or not. */
  ks_future (*blocking)(void* host, void (*run)(void* data), void (*drop)(void* data), void* data);
  /* Calls `tick(data)` every `us` microseconds as a task of the group, until it is cancelled or returns 0. */
  uint64_t (*every_us)(void* host, uint64_t us, uint32_t (*tick)(void* data), void* data);
  /* Connects to `host:port` (`[v6]:port`), from `source` if it isn't empty. `object` = stream. */
  ks_future (*tcp_connect)(void* host, ks_str addr, ks_str source);
  /* Listens. `object` = listener. */
  ks_future (*tcp_listen)(void* host, ks_str addr);
  /* The addresses of a host name, one a line, in `buf`. */
  ks_future (*resolve)(void* host, ks_str name);
  /* Calls `run(data, ctx)` in a turn of the endpoint's engine, then is ready. `drop(data)` is called once, run or not, and
     outside of that turn. */
  ks_future (*turn)(void* host, uint32_t endpoint, void (*run)(void* data, const ks_ctx* ctx), void (*drop)(void* data), void* data);
  /* Executes a command: `buf` = its reply as RESP3; empty if it gives none (SHUTDOWN). Commands about the connection that
     sends them (MULTI, SUBSCRIBE, AUTH, CLIENT SETNAME) answer an error. */
  ks_future (*exec)(void* host, uint32_t endpoint, uint32_t db, const ks_str* argv, size_t argc, uint32_t origin);
  /* Publishes: `a` = receivers. */
  ks_future (*publish)(void* host, uint32_t endpoint, ks_str channel, ks_str message);
  /* Closes sessions: `a` = how many. */
  ks_future (*kill_clients)(void* host, uint32_t endpoint, const ks_kill_filter* filter);
  /* Pauses clients until a unix time in milliseconds; 0 ends the pause. */
  ks_future (*pause)(void* host, uint32_t kind, uint64_t until_unix_ms);
  /* Says what this node is. Takes effect with the next turn; use the context's inside one. */
  void (*set_role)(void* host, const ks_role* role);
  /* Closes (1) or opens (0) a gate. At once, from anywhere. */
  void (*set_gate)(void* host, uint32_t gate, uint32_t closed);
  /* The journal as of the last turn's end; from what a turn calls without a context (a hook, a parameter, a section) its ids
     alone, all else zero. */
  void (*journal)(void* host, ks_journal_state* out);
  /* The replication offset as of the last turn's end; cheaper than `journal`. 0 from what a turn calls without a context: a
     hook for writes is told it. */
  uint64_t (*journal_offset)(void* host);
  /* Appends a record that is no client's write: `a` = the offset behind it. */
  ks_future (*control_record)(void* host, const ks_str* argv, size_t argc, uint32_t targets);
  /* Another history from this offset on. Ends every cursor, but those of KS_CURSOR_PERSISTENCE that lose no bytes by it:
     all if the offset stays, those that have read everything if it doesn't. Their `place` is another from their next
     poll on. */
  ks_future (*rebase)(void* host, const ks_history* history);
  /* Sets the backlog's size; 0 drops the backlog. */
  ks_future (*set_backlog)(void* host, uint64_t bytes);
  /* A cursor (`object`) that reads from an offset, or from now on (KS_KEEP_OFFSET); KS_BEHIND if that isn't kept any more. */
  ks_future (*open_cursor)(void* host, uint64_t from, uint32_t cursor_class);
  /* A snapshot (`object`) and a cursor (`object2`) cut at the same write: `a` = the offset. */
  ks_future (*snapshot_and_follow)(void* host, uint32_t rdb_version, uint32_t cursor_class);
  /* A keyspace to fill (`object`): KS_LOAD_*. */
  ks_future (*begin_load)(void* host, uint32_t mode);
  /* A primary's stream to execute, from the journal's offset on, with a database selected: a replica's journal has it selected
     too from here on. KS_OK and the object, or KS_ERR. Also inside a turn of the data engine: of whoever gives the journal another
     history there, so that nobody sees that without the database. */
  uint32_t (*open_apply)(void* host, uint32_t db, ks_object* out);
  /* Stores the plugin's state: atomic and fsynced when ready. */
  ks_future (*persist_state)(void* host, ks_str bytes);
  /* The state stored last. KS_ERR if there is none, or with the reason in `out` if it can't be read. */
  uint32_t (*read_state)(void* host, ks_buf* out);
  /* Writes the state overlay, as CONFIG REWRITE does. */
  ks_future (*rewrite_config)(void* host);
  /* Ends the server. */
  void (*shutdown)(void* host, uint32_t kind);
  /* The plugin gives up: handled as a fault. */
  void (*fault)(void* host, ks_str reason);
  /* Calls a service: `buf` = the answer. `provider` may be empty for the configured default. */
  ks_future (*service_call)(void* host, ks_str service, ks_str provider, ks_str message);
  /* The names of the providers of a service, one a line. */
  void (*service_providers)(void* host, ks_str service, ks_buf* out);
  /* Puts an object where another plugin can take it by number, so that a message can carry it. */
  uint64_t (*share)(void* host, ks_object object);
  /* Takes a shared object of this kind. KS_OK or KS_ERR. */
  uint32_t (*take)(void* host, uint64_t number, uint32_t kind, ks_object* out);
  /* A snapshot (`object`) without a cursor. In the version there may be KS_RDB_PLAIN. */
  ks_future (*snapshot)(void* host, uint32_t rdb_version);
  /* Replies that show something behind a journal position are held until every plugin that holds any has confirmed
     it. Confirms everything before `position`; KS_HOLD_NOTHING ends this plugin's hold. */
  void (*confirm)(void* host, uint64_t position);
  /* The replication stream is on the disk up to `offset`; KS_NOT_DURABLE: nobody keeps it there (any more). */
  void (*set_durable)(void* host, uint64_t offset);
  /* What `set_durable` said last, of any plugin. */
  uint64_t (*durable)(void* host);
  /* Ready when `durable` has reached `offset`. */
  ks_future (*until_durable)(void* host, uint64_t offset);
  /* Writes are refused with this text behind `MISCONF `; an empty one takes it back. Each plugin has a text of its own; that of
     one that failed goes with it. At once, from anywhere. */
  void (*refuse_writes)(void* host, ks_str reason);
  /* An append-only file to execute (ks_apply_api) with origin loading; nothing of it is propagated. `feed`'s `a`
     is of no use then, its `b` is how many commands answered an error, `buf` the first of them with its error. KS_OK
     and the object, or KS_ERR. */
  uint32_t (*open_replay)(void* host, ks_object* out);
  /* Shows a connection that the plugin made to its primary as a session, with the peer's and the own address as
     `ip:port`: CLIENT LIST and CLIENT KILL know it. Ready when somebody killed it; dropping the future hides it. */
  ks_future (*show_link)(void* host, ks_str peer, ks_str local);
  /* As `tcp_connect`, then TLS with what the endpoint's `tls-*` parameters say (`tls-client-cert-file`,
     `tls-ca-cert-file`, …). Ready when the handshake is done. */
  ks_future (*tls_connect)(void* host, uint32_t endpoint, ks_str addr, ks_str source);
  /* Clients' writes are refused with -READONLY from this moment of the host's clock on, in microseconds;
     KS_NO_LEASE: never for this reason. At once, from anywhere. */
  void (*write_until)(void* host, uint64_t mono_us);
  /* Before replies of a turn behind which the journal had grown leave, this is woken (by reference) by the thread that
     will send them, outside of the engine's lock: what it does there (a write to a file) is done when they leave. One
     for each plugin, in place of the one before; NULL: none. */
  void (*before_replies)(void* host, const ks_waker* waker);
  /* Since boundary 1.2: clients' writes are refused with -NOREPLICAS from this moment of the host's clock on, in
     microseconds, as with KS_GATE_FEW_REPLICAS, whether or not anybody is awake then; KS_NO_LEASE: never for this reason. */
  void (*enough_replicas_until)(void* host, uint64_t mono_us);
};

/* Who sent a command. The strings are borrowed for the call. */
struct ks_client_info {
  /* The session's id; 0 when there is no client (a plugin's own turn). */
  uint64_t id;
  /* The journal offset behind the session's last write. */
  uint64_t write_offset;
  /* The selected database. */
  uint32_t db;
  /* 2 or 3. */
  uint32_t proto;
  /* KS_CLIENT_*. */
  uint32_t flags;
  /* Which endpoint it is connected to; 0 is the data port. */
  uint32_t endpoint;
  /* The peer's address as `ip:port`. */
  ks_str addr;
  /* The own address as `ip:port`. */
  ks_str laddr;
  /* CLIENT SETNAME. */
  ks_str name;
  /* The ACL user. */
  ks_str user;
};

/* How a script calls a command, and what it remembers from call to call. */
struct ks_script_call {
  /* `sizeof(ks_script_call)` where the plugin was built. */
  uint32_t size;
  /* The reply's protocol, 2 or 3. */
  uint32_t proto;
  /* The selected database; SELECT changes it here and not in the session. */
  uint32_t db;
  /* KS_SCRIPT_*. */
  uint32_t flags;
  /* Who gets the effects: KS_TARGET_*. */
  uint32_t targets;
  /* Zero. */
  uint32_t reserved;
};

/* A context: what every call inside a turn gets. */
struct ks_ctx {
  /* The first argument of every function of the table. */
  void* data;
  /* The table. */
  const ks_ctx_api* api;
};

/* What can be done inside a turn. */
struct ks_ctx_api {
  /* `sizeof` of this table on the host. */
  uint32_t size;
  /* Zero. */
  uint32_t reserved;
  /* Reply: `+text`. */
  void (*reply_simple)(void* ctx, ks_str text);
  /* Reply: `-text`; the text starts with the code, as `ERR …`. */
  void (*reply_error)(void* ctx, ks_str text);
  /* Reply: an integer. */
  void (*reply_int)(void* ctx, int64_t value);
  /* Reply: a bulk string. */
  void (*reply_bulk)(void* ctx, ks_str bytes);
  /* Reply: null. */
  void (*reply_null)(void* ctx);
  /* Reply: the null array of RESP2; null in RESP3. */
  void (*reply_null_array)(void* ctx);
  /* Reply: head of an array. */
  void (*reply_array)(void* ctx, size_t len);
  /* Reply: head of a map of `len` pairs; a flat array in RESP2. */
  void (*reply_map)(void* ctx, size_t len);
  /* Reply: head of a set; an array in RESP2. */
  void (*reply_set)(void* ctx, size_t len);
  /* Reply: a double; a bulk string in RESP2. */
  void (*reply_double)(void* ctx, double value);
  /* Reply: a boolean; 1 or 0 in RESP2. */
  void (*reply_boolean)(void* ctx, uint32_t value);
  /* Reply: text with a three letter format; a bulk string in RESP2. */
  void (*reply_verbatim)(void* ctx, ks_str format, ks_str text);
  /* Reply: bytes that are RESP already. */
  void (*reply_raw)(void* ctx, ks_str resp);
  /* Says why the command fails; the call then returns KS_CALL_FAILED. */
  void (*fail)(void* ctx, ks_str text);
  /* Lists a command to propagate instead, in the session's database; the call then returns KS_CALL_LISTED. What was
     changed in a database that nothing is listed for fails the command, and so does an effect that is no command that
     writes, or one of a command that isn't declared to write or to replicate. */
  void (*propagate)(void* ctx, const ks_str* argv, size_t argc);
  /* Who sent the command. */
  void (*client)(void* ctx, ks_client_info* out);
  /* The plugin's state of this session; NULL if none was set. */
  void* (*get_state)(void* ctx);
  /* Sets the plugin's state of this session; an older one is dropped with its own function, as this one will be when the
     session ends: inside of a turn, where nothing may wait for one. */
  void (*set_state)(void* ctx, void* state, void (*drop)(void* state));
  /* Runs a command and gives its reply as RESP3. Its effect is propagated as its own. KS_ERR with the reason in `out`
     if it can't run, as in a database that isn't there. Rights and guards of clients don't hold; an error is the reply
     to what writes or replicates in a command that isn't declared to, and to what is about the session itself (MULTI). */
  uint32_t (*call)(void* ctx, uint32_t db, const ks_str* argv, size_t argc, ks_buf* out);
  /* The kind of the value at a key: KS_VALUE_*. */
  uint32_t (*kind)(void* ctx, uint32_t db, ks_str key);
  /* A string's bytes, borrowed until the next call of the table. Returns KS_VALUE_*; `out` is set for strings only. */
  uint32_t (*get)(void* ctx, uint32_t db, ks_str key, ks_str* out);
  /* Sets a string and removes its expiry. In a command its effect says what is propagated, KS_CALL_NONE this change;
     in a plugin's own turn it always is. A database that isn't there, or a command that isn't declared to write, fails
     the command, whatever it returns, and nothing is changed. The same goes for `del` and `expire_at`. */
  uint32_t (*set_string)(void* ctx, uint32_t db, ks_str key, ks_str value);
  /* Deletes a key: 1 if it existed. */
  uint32_t (*del)(void* ctx, uint32_t db, ks_str key);
  /* Sets the expiry in unix milliseconds, 0 removes it: 1 if the key existed. */
  uint32_t (*expire_at)(void* ctx, uint32_t db, ks_str key, uint64_t unix_ms);
  /* The expiry in unix milliseconds, 0 if none. */
  uint64_t (*expiry)(void* ctx, uint32_t db, ks_str key);
  /* Number of keys of a database. */
  uint64_t (*keys)(void* ctx, uint32_t db);
  /* Number of databases. */
  uint32_t (*databases)(void* ctx);
  /* The journal as it is now, inside the turn. */
  void (*journal)(void* ctx, ks_journal_state* out);
  /* Appends a record that is no client's write (PING, GETACK). The offset behind it. */
  uint64_t (*control_record)(void* ctx, const ks_str* argv, size_t argc, uint32_t targets);
  /* Another history from this offset on; ends every cursor. */
  uint32_t (*rebase)(void* ctx, const ks_history* history);
  /* Says what this node is now. */
  void (*set_role)(void* ctx, const ks_role* role);
  /* Pauses clients until a unix time in milliseconds; 0 ends the pause. KS_PAUSE_*. */
  void (*pause)(void* ctx, uint32_t kind, uint64_t until_unix_ms);
  /* Publishes on this engine; the number of receivers. */
  uint64_t (*publish)(void* ctx, ks_str channel, ks_str message);
  /* Closes sessions; how many. */
  uint64_t (*kill_clients)(void* ctx, const ks_kill_filter* filter);
  /* The clock of this turn in unix milliseconds. */
  uint64_t (*now_unix_ms)(void* ctx);
  /* Lets other sessions get a word in during a long call: commands allowed while busy run. 1: stop what you do. */
  uint32_t (*busy_poll)(void* ctx);
  /* Which conditions hold now for this caller: KS_COND_*. */
  uint64_t (*conditions)(void* ctx);
  /* Runs a command in the calling session's name under the guards for scripts, as part of the running command's
     unit. KS_OK with its reply (which may be an error) as RESP in `out`, or KS_ERR with the reason why it didn't run. */
  uint32_t (*script_call)(void* ctx, ks_script_call* how, const ks_str* argv, size_t argc, ks_buf* out);
  /* Whether the session's user may run a command with these words: KS_OK, or KS_ERR with the reason in `out`. */
  uint32_t (*acl_check)(void* ctx, const ks_str* argv, size_t argc, ks_buf* out);
  /* What `busy_poll` answers to commands that must wait, code first (`BUSY …`). */
  void (*set_busy_reply)(void* ctx, ks_str text);
  /* How many changes were made to the keys since the server's start; never falls. */
  uint64_t (*changes)(void* ctx);
  /* As `fail`, for an error that was counted already, when a command that this one called failed with it. */
  void (*fail_counted)(void* ctx, ks_str text);
  /* How many times FLUSHALL emptied the keyspace since the server's start; never falls. */
  uint64_t (*flushes)(void* ctx);
  /* Why a plugin refuses writes, as it said it, into `out`; empty if none does. */
  void (*write_error)(void* ctx, ks_buf* out);
  /* As `propagate`, in another database than the session's. */
  void (*propagate_in)(void* ctx, uint32_t db, const ks_str* argv, size_t argc);
  /* Tells subscribers of keyspace events (class `d`) of something that happened to a key, behind what this turn did
     to keys before. The event's name is UTF-8 of 1 to 64 bytes; the process keeps every name, at most 1,000. KS_OK,
     or KS_ERR: such a name, no such database, or INFO is being written. */
  uint32_t (*notify)(void* ctx, uint32_t db, ks_str key, ks_str event);
};

/* A registrar: valid during `create` only. */
struct ks_registrar {
  /* The first argument of every function of the table. */
  void* data;
  /* The table. */
  const ks_registrar_api* api;
};

/* A command, or with `PARENT|CHILD` as name a subcommand. Exactly one of `call`, `start`, `takeover` is set. */
struct ks_command_spec {
  /* `sizeof(ks_command_spec)` where the plugin was built. */
  uint32_t size;
  /* Arity as Redis counts it: negative means at least. */
  int32_t arity;
  /* KS_CMD_*. */
  uint64_t flags;
  /* KS_ACL_*. */
  uint64_t acl;
  /* The endpoint it is for; 0 is the data port. */
  uint32_t endpoint;
  /* First key's position; 0 if it takes none. */
  int32_t first_key;
  /* Last key's position; negative counts from the end. */
  int32_t last_key;
  /* Step between keys. */
  int32_t key_step;
  /* The name. */
  ks_str name;
  /* One line for COMMAND DOCS. */
  ks_str summary;
  /* The version that brought it, for COMMAND DOCS. */
  ks_str since;
  /* The group for COMMAND DOCS. */
  ks_str group;
  /* The first argument of the functions. */
  void* data;
  /* Runs in the turn; replies through the context. KS_CALL_*. */
  uint32_t (*call)(void* data, const ks_ctx* ctx, const ks_str* argv, size_t argc);
  /* Starts a future whose `buf` is the reply as RESP of the client's protocol; the session parks. Without a reply it is
     answered an error, unless it may be silent. */
  ks_future (*start)(void* data, const ks_client_info* client, const ks_str* argv, size_t argc);
  /* With `start`: answers at once if it can (KS_CALL_NOT_NOW if not). It alone runs inside MULTI and scripts,
     where `must` is 1 and KS_CALL_NOT_NOW is no answer. With `takeover`: KS_CALL_NOT_NOW hands the connection over, an
     error is answered and the session stays a client's. */
  uint32_t (*try_now)(void* data, const ks_ctx* ctx, const ks_str* argv, size_t argc, uint32_t must);
  /* Takes the connection over. The future owns it; the session ends with it. */
  ks_future (*takeover)(void* data, ks_conn* conn, const ks_str* argv, size_t argc);
  /* Writes the positions of the keys to `out` (at most `max`); how many there are. More than `argc`: that can't be told,
     and every word counts as a key. */
  size_t (*get_keys)(void* data, const ks_str* argv, size_t argc, uint32_t* out, size_t max);
  /* With KS_CMD_MAY_REPLICATE: 1 if these words change nothing (a script that says so): a pause of writes lets them
     through. Called in the turn, even from inside of a long command of the same plugin: it must not wait. Not asked
     where there is `flags_now`, which tells more. */
  uint32_t (*reads_only)(void* data, const ks_str* argv, size_t argc);
  /* Its page for COMMAND DOCS: how its time grows, its arguments and their history, in the notation of the core's own
     pages (core/engine/src/page.rs). May be empty. */
  ks_str page;
  /* Since boundary 1.1, with `call`: the KS_CMD_* that hold with these words, where they decide (a script that says of
     itself what it does); `flags` are those above. Of the answer only KS_CMD_WRITE, KS_CMD_READONLY, KS_CMD_DENYOOM,
     KS_CMD_STALE and KS_CMD_MAY_REPLICATE count. Asked before the command runs and before MULTI queues it, in the turn,
     even from inside of a long command of the same plugin: it must not wait. */
  uint64_t (*flags_now)(void* data, const ks_str* argv, size_t argc, uint64_t flags);
};

/* A connection handed over: undecoded bytes come first from the stream. */
struct ks_conn {
  /* The stream (ks_io_api); owned by the receiver. */
  ks_object io;
  /* Who it is; the strings are borrowed for the call. */
  ks_client_info client;
  /* The plugin's state of the session; owned by the receiver. NULL if none. */
  void* state;
};

/* An INFO section. `render` writes `name:value\r\n` lines through `line`. */
struct ks_info_spec {
  /* `sizeof(ks_info_spec)` where the plugin was built. */
  uint32_t size;
  /* The endpoint it is for. */
  uint32_t endpoint;
  /* 0: a section of its own, or in place of the core's of that name. 1: its fields go behind those of that section. */
  uint32_t append;
  /* Zero. */
  uint32_t reserved;
  /* The section's name as in `INFO name`: ASCII without spaces. */
  ks_str section;
  /* The first argument of `render`. */
  void* data;
  /* Renders in the turn: calls `line(sink, name, value)` for each field. Takes no lock. */
  uint32_t (*render)(void* data, const ks_ctx* ctx, void* sink, void (*line)(void* sink, ks_str name, ks_str value));
};

/* A CONFIG parameter under Redis' name. */
struct ks_param_spec {
  /* `sizeof(ks_param_spec)` where the plugin was built. */
  uint32_t size;
  /* KS_PARAM_*. */
  uint32_t flags;
  /* The endpoint it is for. */
  uint32_t endpoint;
  /* Zero. */
  uint32_t reserved;
  /* The name. */
  ks_str name;
  /* A second name; empty if there is none. */
  ks_str alias;
  /* The default, as CONFIG GET would show it. */
  ks_str default_value;
  /* The first argument of the functions. */
  void* data;
  /* The value as text. */
  uint32_t (*get)(void* data, ks_buf* out);
  /* Sets it: KS_OK, or KS_ERR with the reason in `error`. */
  uint32_t (*set)(void* data, ks_str value, ks_buf* error);
};

/* One write, as a hook sees it. */
struct ks_write_event {
  /* The replication offset before the unit it is part of. */
  uint64_t offset;
  /* The database. */
  uint32_t db;
  /* KS_ORIGIN_*. */
  uint32_t origin;
  /* The effect's words. */
  const ks_str* argv;
  /* How many. */
  size_t argc;
};

/* A service that is provided: messages in, messages out. */
struct ks_service_spec {
  /* `sizeof(ks_service_spec)` where the plugin was built. */
  uint32_t size;
  /* The contract's major version. */
  uint32_t major;
  /* The contract's minor version. */
  uint32_t minor;
  /* Zero. */
  uint32_t reserved;
  /* The contract's name. */
  ks_str name;
  /* The first argument of `call`. */
  void* data;
  /* Answers a message: `buf` = the answer. */
  ks_future (*call)(void* data, ks_str message);
};

/* A service that is needed. */
struct ks_need_spec {
  /* `sizeof(ks_need_spec)` where the plugin was built. */
  uint32_t size;
  /* The contract's major version. */
  uint32_t major;
  /* The lowest minor version that will do. */
  uint32_t min_minor;
  /* 1: the plugin works without it. */
  uint32_t optional;
  /* The contract's name. */
  ks_str name;
};

/* A port of the plugin's own, served by an engine of its own: no keyspace, no journal. */
struct ks_endpoint_spec {
  /* `sizeof(ks_endpoint_spec)` where the plugin was built. */
  uint32_t size;
  /* The port. */
  uint32_t port;
  /* What it is called in logs and INFO (`redis_mode`): ASCII without spaces, and no other port's name. */
  ks_str name;
  /* Addresses to bind to, one a line; empty: as the data port. */
  ks_str bind;
  /* 40 hex characters. */
  ks_str run_id;
  /* The password; empty for none. */
  ks_str password;
  /* The port for TLS; 0 for none. Then `port` may be 0. */
  uint32_t tls_port;
  /* Zero. */
  uint32_t reserved;
};

/* A part of the data set that isn't keys: saved with every snapshot, replaced with every load. */
struct ks_section_spec {
  /* `sizeof(ks_section_spec)` where the plugin was built. */
  uint32_t size;
  /* The opcode that its records begin with in an RDB file: 245, of functions. Readers of such files know no other. */
  uint32_t opcode;
  /* The first argument of the functions. */
  void* data;
  /* Its records, opcode first, one behind the other. In the turn of the cut, which can't be read unless this is KS_OK.
     Asked once more when the plugin is stopped: what it gives then stays a part of the data. */
  uint32_t (*save)(void* data, ks_buf* out);
  /* These records take the place of what is there; none if the file had none. In the turn of the commit. KS_OK, or
     KS_ERR with the reason in `error`: then nothing has changed. */
  uint32_t (*load)(void* data, ks_str records, ks_buf* error);
};

/* What can be declared, while `create` runs and not behind it. Each returns KS_OK, or KS_ERR with the reason as the
   last error. */
struct ks_registrar_api {
  /* `sizeof` of this table on the host. */
  uint32_t size;
  /* Zero. */
  uint32_t reserved;
  /* A command. */
  uint32_t (*command)(void* registrar, const ks_command_spec* spec);
  /* An INFO section. */
  uint32_t (*info)(void* registrar, const ks_info_spec* spec);
  /* A CONFIG parameter. */
  uint32_t (*param)(void* registrar, const ks_param_spec* spec);
  /* A hook called in the turn for every effect that is propagated. KS_OK, or KS_PANICKED to be unhooked. */
  uint32_t (*on_write)(void* registrar, uint32_t (*hook)(void* data, const ks_write_event* event), void* data);
  /* A hook called when sessions begin and end: KS_CONN_*. */
  uint32_t (*on_conn)(void* registrar, uint32_t endpoint, uint32_t (*hook)(void* data, const ks_client_info* client, uint32_t event), void* data);
  /* A service it provides. */
  uint32_t (*provide)(void* registrar, const ks_service_spec* spec);
  /* A service it needs. */
  uint32_t (*need)(void* registrar, const ks_need_spec* spec);
  /* A port of its own: its number in `out`. */
  uint32_t (*endpoint)(void* registrar, const ks_endpoint_spec* spec, uint32_t* out);
  /* What a fault of the plugin means: KS_FAULT_*. */
  uint32_t (*on_fault)(void* registrar, uint32_t policy);
  /* Why the last call failed. */
  void (*last_error)(void* registrar, ks_buf* out);
  /* A part of the data set that isn't keys. */
  uint32_t (*section)(void* registrar, const ks_section_spec* spec);
};

/* What a library says of itself: the exported static `KEYSTEAD_PLUGIN_<name>`. */
struct ks_plugin_decl {
  /* KS_MAGIC. */
  uint64_t magic;
  /* `sizeof(ks_plugin_decl)` where the plugin was built. */
  uint32_t size;
  /* KS_ABI_MAJOR where the plugin was built. */
  uint32_t abi_major;
  /* KS_ABI_MINOR where the plugin was built. */
  uint32_t abi_minor;
  /* The lowest minor version of the host that the plugin can run on. */
  uint32_t min_host_minor;
  /* KS_DECL_*. */
  uint64_t flags;
  /* The plugin's name, NUL padded. */
  uint8_t name[64];
  /* The plugin's own version, NUL padded. */
  uint8_t version[32];
  /* The compiler that built it, NUL padded. */
  uint8_t rustc[64];
  /* Makes the instance: registers everything, does no I/O and starts nothing. Returns KS_OK or, with `error`
     filled, KS_ERR or KS_PANICKED. */
  uint32_t (*create)(ks_host host, ks_registrar registrar, const ks_config_text* config, ks_instance* out, ks_config_error* error);
  /* Checks a configuration without side effects. KS_OK, or KS_ERR with `error` filled. */
  uint32_t (*check_config)(const ks_config_text* config, ks_config_error* error);
  /* Every key with its default, as RON text. No side effects. */
  uint32_t (*describe_config)(ks_buf* out);
  /* Plugins that a configuration names as providers of a service, one a line: service, plugin and the place in the
     configuration, with tabs between them. No side effects. KS_OK, or KS_ERR if the configuration can't be read. */
  uint32_t (*config_needs)(const ks_config_text* config, ks_buf* out);
};

/* A plugin's subtree of the RON file, as text, and where it starts. */
struct ks_config_text {
  /* The subtree's text; empty means every default. */
  ks_str text;
  /* The file it comes from. */
  ks_str file;
  /* The line of its first byte, from 1. */
  uint32_t line;
  /* The column of its first byte, from 1, in characters. */
  uint32_t column;
};

/* Why a configuration is refused, and where. */
struct ks_config_error {
  /* Line in the file, from 1; 0 if no place is known. */
  uint32_t line;
  /* Column, from 1. */
  uint32_t column;
  /* Line where the wrong part ends. */
  uint32_t end_line;
  /* Column behind the wrong part. */
  uint32_t end_column;
  /* What is wrong and what was expected. */
  ks_buf message;
};

/* A created plugin. */
struct ks_instance {
  /* The first argument of every function of the table. */
  void* data;
  /* The table. */
  const ks_instance_api* api;
};

/* What the host asks of a created plugin. NULL functions are skipped. */
struct ks_instance_api {
  /* `sizeof` of this table where the plugin was built. */
  uint32_t size;
  /* Zero. */
  uint32_t reserved;
  /* After every plugin was created, providers before their users. */
  ks_future (*start)(void* data);
  /* Already unhooked; tasks that are left are cancelled when this is ready or times out. `why`: KS_STOP_*. */
  ks_future (*stop)(void* data, uint32_t why);
  /* A changed subtree of the configuration. Reserved: no host calls it yet. */
  ks_future (*reconfigure)(void* data, const ks_config_text* config);
  /* What a newer copy of the plugin needs to go on. Reserved: no host calls it yet. */
  uint32_t (*export_state)(void* data, ks_buf* out);
  /* What an older copy exported. Reserved: no host calls it yet. */
  uint32_t (*import_state)(void* data, ks_str state);
  /* Drops the instance. */
  void (*drop)(void* data);
  /* The server is asked to end (`flags`: KS_ENDING_*): the time to save and to wait for others, with everything
     still running and clients' writes paused. A failure refuses the end. Dropped when it is taken back. */
  ks_future (*before_end)(void* data, uint32_t flags);
};

#ifdef __cplusplus
}
#endif

#endif
