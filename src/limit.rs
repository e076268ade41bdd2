//! Every bound of the program, with its unit in its name and where the number comes from.

/// A name that people chose (project, recipe, package, profile, host). Real package names end at 60.
pub const NAME_BYTES_MAX: usize = 128;
/// A value in the store: sled 0.34.7 leaks disk for values from some 16 KiB on, so larger things are blobs.
pub const STORE_VALUE_BYTES_MAX: usize = 8 * 1024;
/// All changes of one commit: some 8,000 of the largest rows.
pub const STORE_SET_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The store takes no more changes when its disk has less room than this.
pub const STORE_FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// Room that is kept back so that a full disk can still be opened and tidied.
pub const STORE_BALLAST_BYTES: u64 = 32 * 1024 * 1024;
/// Time between two exports of the store; one is skipped when nothing changed.
pub const STORE_EXPORT_S: u64 = 3_600;
/// Timed exports of the store that are kept.
pub const STORE_EXPORTS_KEPT: usize = 7;
/// A `constraints.yaml`, which has a line for each thing that is asked for.
pub const CONSTRAINTS_BYTES_MAX: usize = 64 * 1024;
/// A `stone.yaml`; the largest real one has 60 KiB.
pub const RECIPE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Values (scalars, lists, maps) in a `stone.yaml`, aliases counted as what they stand for; the largest real one has 2,000.
pub const RECIPE_VALUES_MAX: usize = 50_000;
/// Lists and maps inside each other in a `stone.yaml`; real ones have six.
pub const RECIPE_NESTING_MAX: usize = 32;
/// A phase's script after expansion; the largest real one has 60 KiB.
pub const SCRIPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A `manifest.<arch>.bin`; the largest real one has 100 KiB.
pub const MANIFEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Payloads of a package; real ones have at most five.
pub const STONE_PAYLOADS_MAX: usize = 65_535;
/// One text of a fault that is kept in a row; three of them and the causes fit a value of the store.
pub const FAULT_TEXT_BYTES_MAX: usize = 1_200;
/// Causes of a fault that are kept.
pub const FAULT_CAUSES_MAX: usize = 4;
/// Decompressed meta, layout or index payload of a stone.
pub const STONE_TABLE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Decompressed content of one package.
pub const STONE_CONTENT_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// A package file: its content may be incompressible.
pub const STONE_FILE_BYTES_MAX: u64 = STONE_CONTENT_BYTES_MAX + 4 * STONE_TABLE_BYTES_MAX;
/// Offers of attempts that vessel fetches and checks at the same time.
pub const FETCHES_MAX: usize = 8;
/// The same of one builder: others are fetched from meanwhile, however slow it is.
pub const FETCHES_OF_BUILDER_MAX: usize = 2;
/// Time until a fetch or a write to the served files that failed is tried again.
pub const VESSEL_RETRY_S: u64 = 5;
/// zstd window of the contents that we write: 32 MiB, so that neither a slot nor a client needs a package's size in memory.
pub const STONE_CONTENT_WINDOW_LOG: u32 = 25;
/// What one compression thread takes at a time; fixed, since it shapes the bytes.
pub const STONE_CONTENT_JOB_BYTES: u32 = 16 * 1024 * 1024;
/// One text of a stone's metadata.
pub const STONE_TEXT_BYTES_MAX: usize = 1024 * 1024;
/// One message on the admin socket.
pub const ADMIN_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Rows in one page of an admin reply.
pub const ADMIN_PAGE_ROWS_MAX: usize = 1_000;
/// Connections to the admin socket at once; a dashboard holds four, a waiting command one.
pub const ADMIN_CONNECTIONS_MAX: usize = 256;
/// A client of the admin socket that takes nothing for this long is cut off: it is stopped or gone.
pub const ADMIN_WRITE_S: u64 = 20;
/// Connections of callers who may only look: they cannot keep the farm's own people out.
pub const ADMIN_VIEWERS_MAX: usize = 64;
/// One request on the admin socket; the largest real ones carry some hundred names.
pub const ADMIN_REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// The rest of a request must follow its first byte within this time.
pub const ADMIN_REQUEST_S: u64 = 20;
/// A client waits this long for the answer of a call that reads every file of something.
pub const ADMIN_SLOW_CALL_S: u64 = 3_600;
/// `massif watch` waits this long for a host that went away.
pub const ADMIN_RECONNECT_S: u64 = 60;
/// Bytes of a Unix socket's path (`sun_path` less its NUL); longer ones go through a directory descriptor.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// A client waits this long for a host to take its connection.
pub const ADMIN_CONNECT_S: u64 = 10;
/// A client waits this long for the answer of a call that does not stream. The host's own deadlines are shorter.
pub const ADMIN_CALL_S: u64 = 60;
/// Bytes of a log or file in one answer, unless asked for less: base64 of it stays far below a message's limit.
pub const ADMIN_PIECE_BYTES_MAX: usize = 1024 * 1024;
/// Cores that one build may ask for: as many as Linux counts on x86-64 (`NR_CPUS_DEFAULT`).
pub const CORES_MAX: u32 = 8_192;
/// Slots of one builder.
pub const SLOTS_MAX: u32 = 1_024;
/// One control frame between hosts.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// A log takes bytes up to here; after that its tail is kept (2 GiB).
pub const LOG_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// The tail of a log that went over its limit.
pub const LOG_TAIL_BYTES: usize = 1024 * 1024;
/// Recipes of one project; the largest real repository has 1,750.
pub const RECIPES_MAX: usize = 100_000;
/// Directories above a recipe; real ones have two.
pub const RECIPE_DEPTH_MAX: usize = 16;
/// A recipe's directory as one packed file: patches and helper files; the largest real one has some 3 MiB.
pub const RECIPE_PACK_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Files of a recipe's directory.
pub const RECIPE_FILES_MAX: usize = 10_000;
/// A catalog's blob, decompressed. 1,558 recipes take 3 MiB.
pub const CATALOG_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Commits that are looked at for a directory's last changes; the largest real repository has 19,900.
pub const HISTORY_COMMITS_MAX: usize = 100_000;
/// Packs in a mirror; each fetch adds one and nothing joins them, so a mirror with more is made anew.
pub const MIRROR_PACKS_MAX: usize = 256;
/// Time between two polls of a project's repository, unless configured.
pub const POLL_S: u64 = 30;
/// The longest pause after looks that failed, unless the poll time is longer.
pub const POLL_BACKOFF_S_MAX: u64 = 600;
/// A git operation that moved nothing for this long is given up.
pub const GIT_STALL_S: u64 = 60;
/// A git operation is given up after this long whatever it moves.
pub const GIT_DEADLINE_S: u64 = 1_800;
/// How long an attempt belongs to a builder without news, unless configured.
pub const LEASE_S: u64 = 30;
/// Time between two signs of life of a builder.
pub const HEARTBEAT_S: u64 = 5;
/// Tries of a job whose failures are the builder's, the network's or unknown.
pub const TRIES_MAX: u32 = 5;
/// A first intake of more recipes than this builds nothing until somebody says so.
pub const FIRST_INTAKE_BUILDS_MAX: usize = 50;
/// Versions of a channel that are kept as files beside those that a stream or a tag names.
pub const VERSIONS_SERVED: usize = 50;
/// One upstream archive; the largest real ones (browsers, toolchains) have some 4 GiB.
pub const UPSTREAM_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// A fetch of an upstream that moved nothing for this long is tried again.
pub const UPSTREAM_STALL_S: u64 = 60;
/// A fetch of an upstream is given up after this long whatever it moves: 16 GiB at 1.2 MB/s.
pub const UPSTREAM_DEADLINE_S: u64 = 14_400;
/// Tries of one URL before a fetch is given up.
pub const UPSTREAM_TRIES_MAX: u32 = 4;
/// Upstreams that one host fetches at once.
pub const UPSTREAM_FETCHES_MAX: usize = 4;
/// Files of a mirror directory that are looked at.
pub const MIRROR_FILES_MAX: usize = 100_000;
/// What one upstream may unpack to.
pub const UNPACKED_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Members of one upstream; a large browser's archive has 400,000.
pub const UNPACKED_ENTRIES_MAX: u64 = 4_000_000;
/// Memory that reading an archive may take; xz at its highest setting needs 65 MiB.
pub const UNPACK_MEMORY_KIB_MAX: u32 = 2 * 1024 * 1024;
/// A question from one actor to another: longer than a disk stands still that is only slow, and well within a call.
pub const ASK_MS: u64 = 30_000;
/// Making a build root; measured 6 to 50 ms, some seconds on a machine that swaps.
pub const SANDBOX_START_MS: u64 = 30_000;
/// What an earlier process left is killed, and waited for so long: a disk that stands still keeps processes from ending.
pub const LEFTOVERS_END_MS: u64 = 30_000;
/// An orderly end of a build root, before it is killed.
pub const SANDBOX_END_MS: u64 = 2_000;
/// SIGTERM to the end of the process.
pub const STOP_S: u64 = 5;
/// A host that drains waits so long for what it built to be fetched, in seconds: a link that broke is back by then.
pub const DRAIN_FETCH_S: u64 = 60;

/// Builders of a simulated plan; more than any farm has.
pub const PLAN_BUILDERS_MAX: u32 = 10_000;
/// Looks at a node's best place in the search for cuts of cycles, when somebody waits for a plan: 0.3 s on the real recipes' component
/// of 325, after which little is gained.
pub const PLAN_STEPS: u64 = 300_000;
/// The same in a farm, where a handler may not take longer than 50 ms and the plan is worked out again after every change.
pub const SETTLE_STEPS: u64 = 20_000;

const _: () = assert!(HEARTBEAT_S * 3 < LEASE_S);
/// Seconds that an attempt may take unless its profile says otherwise: a day, which the largest builds stay below.
pub const ATTEMPT_S_MAX: u64 = 86_400;
/// Jobs that are over and remembered beside the newest ones of each recipe: about a year of a distribution, and what a dashboard still reads at
/// once.
pub const HISTORY_JOBS: usize = 20_000;
/// Silence without processor time and I/O after which an attempt is stalled, unless its history says otherwise.
pub const SILENCE_S_MAX: u64 = 3_600;
/// Attempts of a job whose upstream cannot be fetched or has other bytes.
pub const UPSTREAM_ATTEMPTS_MAX: u32 = 3;
/// A remote's `stone.index`; one of 4,000 packages has 1.8 MB.
pub const INDEX_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Predicted seconds of a build of which nothing is known.
pub const UNKNOWN_BUILD_S: f64 = 60.0;
/// What a builder keeps free of each file system that it uses.
pub const DISK_FLOOR_BYTES: u64 = 512 * 1024 * 1024;
/// Inodes that a builder keeps free.
pub const INODE_FLOOR: u64 = 10_000;
/// Processes and threads of a slot; a parallel build of a browser has some hundred.
pub const SLOT_PROCESSES_MAX: u64 = 4_096;
/// Memory that a slot has at least, on machines that can give it: what linking a large C++ program takes.
pub const SLOT_MEMORY_BYTES_MIN: u64 = 2 * 1024 * 1024 * 1024;
/// Silence after which an attempt is stalled is at least this, whatever its history says.
pub const SILENCE_S_MIN: u64 = 300;
/// Logs of attempts that a builder keeps.
pub const LOGS_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// Attempts whose logs a builder keeps.
pub const LOGS_MAX: u64 = 20_000;
/// A look at an attempt is told to summit this often.
pub const GLANCE_MS: u64 = 2_000;
/// Attempts of one recipe on as many hosts that failed by the builder's doing make it the recipe's.
pub const HOSTS_FAILED_MAX: usize = 2;
/// Recipes that fail one after the other on one host, by the builder's doing, before it goes to quarantine.
pub const SUSPECT_RECIPES: usize = 3;
/// A transfer between hosts that moved nothing for this long is taken up again; a link may stand still for its idle time.
pub const TRANSFER_STALL_S: u64 = 30;
/// Files of one attempt that are fetched over a link at the same time.
pub const LINK_FETCHES_MAX: usize = 8;
/// Messages that wait for a link; a peer that does not keep up is told again when its link is new.
pub const LINK_QUEUE_MAX: usize = 4_096;
/// Entries of the audit trail that strangers and misbehaving peers can cause in a minute, all together.
pub const REFUSALS_NOTED_PER_MIN: usize = 60;
/// What a peer may do wrong on one link before the link is closed.
pub const MISDEEDS_MAX: u32 = 20;
/// The same refusal of the same key is written down once in so long.
pub const REFUSAL_AGAIN_MS: u64 = 600_000;
/// What a builder or an operator may say first on a stream of its own: which file, or its new keys.
pub const WISH_BYTES_MAX: usize = 16 * 1024;
/// What a builder says of itself: slots, disks, and a few lines of evidence.
pub const REPORT_BYTES_MAX: usize = 64 * 1024;
/// Messages of a peer to an actor that may wait there; the next are left with the peer until the actor has heard them.
pub const LINK_AHEAD_MAX: u32 = 16;
/// How long a ticket lives unless said otherwise.
pub const TICKET_S: u64 = 900;
/// The longest life of a ticket: a month.
pub const TICKET_S_MAX: u64 = 30 * 86_400;
/// A key that was replaced stays good this long: as long as a certificate lives.
pub const KEY_OVERLAP_S: u64 = 30 * 86_400;
/// And this long at most.
pub const KEY_OVERLAP_S_MAX: u64 = 366 * 86_400;
/// Tickets and peers that are kept.
pub const PEERS_MAX: usize = 4_096;
/// A link that broke is dialled again after this long at most.
pub const REDIAL_MS_MAX: u64 = 5_000;
/// Time for one try to dial.
pub const DIAL_S: u64 = 5;
/// A transfer waits this long for a link that broke before its offer fails for now.
pub const LINK_WAIT_S: u64 = 60;
/// Connections of one operator at a time; a dashboard holds two.
pub const OPERATOR_LINKS_MAX: usize = 32;
/// A peer's clock that is further off than this is told; up to two days nothing depends on it.
pub const CLOCK_OFF_S: i64 = 60;
/// Folding the log of events in one question about the past; it goes on where it stopped when it is asked again.
pub const PAST_FOLD_MS: u64 = 5_000;
