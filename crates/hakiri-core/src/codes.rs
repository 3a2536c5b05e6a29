//! The register of error codes. A code is never reused and never changes its meaning.
//!
//! `docs/errors/` holds one page per code, generated from this table; a test fails when a page is stale.
//! Ranges: 00 general and usage, 01 manifest, 02 catalog, 03 store, 04 any source, 05 HTTP, 06 files, 07 types and
//! schemas, 08 queries and transforms, 09 runs, 10 PostgreSQL, 11 serving, 12 deployment.

use std::fmt;

use crate::error::Kind;

/// What the register knows of a code.
#[derive(Debug, Clone, Copy)]
pub struct Info {
    /// `HK` and four digits.
    pub id: &'static str,
    /// The kind an error of this code has unless the circumstances say otherwise.
    pub kind: Kind,
    /// One line for the page's title and for lists.
    pub title: &'static str,
    /// Why it happens, for the page.
    pub cause: &'static str,
    /// The next step, shown as the hint unless the error brings a more precise one.
    pub remedy: &'static str,
}

macro_rules! codes {
    ($($name:ident $id:literal $kind:expr, $title:literal, $cause:literal, $remedy:literal;)*) => {
        /// A stable error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $title] $name,)* }

        impl Code {
            /// Every code, in the register's order.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// What the register knows of it.
            pub const fn info(self) -> Info {
                match self {
                    $(Code::$name => Info { id: $id, kind: $kind, title: $title, cause: $cause, remedy: $remedy },)*
                }
            }
        }
    };
}

use Kind::{AuthExpired, Interrupted as Stopped, Permanent, SchemaIncompatible, Transient, Usage};

codes! {
    // 00 general and usage
    Internal "HK0001" Permanent, "an invariant of Hakiri does not hold",
        "This is a defect of Hakiri, not of your data or manifest.",
        "report it with the command and the output of `hakiri --version`; committed data is not affected";
    Arguments "HK0002" Usage, "the command line is wrong", "A flag or an argument is missing, unknown or contradicts another.",
        "see the command's --help";
    Interrupted "HK0003" Stopped, "the work was interrupted", "You pressed Ctrl-C, or the process was asked to end.",
        "start the same command again: it goes on with the unfinished run";
    NoProject "HK0004" Usage, "there is no project here", "Neither this folder nor one above it has a `hakiri.toml`.",
        "run `hakiri init`, or name the folder with --project";
    Io "HK0005" Transient, "the operating system refused a file operation",
        "Reading or writing a local file failed.", "check the path, its permissions and the free space";

    // 01 manifest
    ManifestSyntax "HK0101" Usage, "the manifest is not valid TOML or JSON", "The text cannot be parsed.", "fix the syntax at the place shown";
    ManifestUnknownKey "HK0102" Usage, "a key is not known here", "A key is misspelt or stands under the wrong table.", "remove the key or use the name suggested";
    ManifestType "HK0103" Usage, "a value has the wrong type", "The value is of another type than the key takes.", "write the value as shown";
    ManifestMissing "HK0104" Usage, "a required key is missing", "The table lacks a key that has no default.", "add the key";
    ManifestDuplicate "HK0105" Usage, "the same id is used twice", "Two pipelines share an id, within a file or across files.", "rename one of them";
    ManifestSchedule "HK0106" Usage, "a schedule cannot be read", "A schedule is `every <number><s|m|h|d>` or five cron fields in UTC.", "write for example `every 15m` or `0 */2 * * *`";
    ManifestCollision "HK0107" Usage, "two pipelines would write the same table", "Stored tables are named `<pipeline>_<table>`; two pipelines arrive at the same name.", "set `name` or `prefix` on one of them";
    ManifestSecret "HK0108" Usage, "a secret is used but not declared", "`${NAME}` is replaced only for names in the pipeline's `secrets` (or `HAKIRI_*`), and only inside source.config.", "add the name to `secrets`";
    ManifestTable "HK0109" Usage, "a table stands under the wrong pipeline", "The table is not one of the pipeline it stands under.", "move it under the pipeline suggested, or add it to `tables`";
    ManifestValue "HK0110" Usage, "a value is not allowed here", "The value is of the right type but out of range or contradicts another.", "use one of the values shown";
    ManifestEnv "HK0111" Usage, "the environment is not defined", "`--env NAME` needs `[env.NAME]` in the manifest.", "define it, or use one of the names listed";
    SecretMissing "HK0112" Usage, "a secret has no value", "The manifest declares a secret that neither the environment nor `.env` gives.", "set it in the environment or in `.env`";
    SecretFileOpen "HK0113" Usage, "the file .env can be read by others", "A file with secrets must be readable by its owner only.", "run `chmod 600 .env`";
    SecretsUnavailable "HK0114" Transient, "the store of secrets cannot be reached", "The service that keeps the secrets of a deployment gave no clear answer.", "try again; if it stays, check region, endpoint and network of the process";
    SecretsRefused "HK0115" Usage, "the secrets are not given", "The service that keeps the secrets of a deployment refused the request, or the variable that names them is wrong.", "check the ARN in HAKIRI_SECRETS, and that the role of the process may read it (secretsmanager:GetSecretValue)";
    SecretsShape "HK0116" Usage, "the secrets are of another form", "What is kept under one name for a deployment is a JSON object of names and texts, and for a database one with username and password.", "store for example {\"API_TOKEN\": \"…\"}; every value is a text";

    // 02 catalog
    CatalogConflict "HK0201" Transient, "the catalog changed underneath", "Another writer was first.", "run the command again";
    CatalogFenced "HK0202" Permanent, "another run took over", "This worker outlived its lease; a newer run of the pipeline holds it now. Nothing of this worker's was committed.", "nothing to do: the newer run goes on";
    CatalogNotFound "HK0203" Permanent, "the catalog has no such record", "It was never written, or was dropped.", "check the name with `hakiri tables` or `hakiri runs`";
    CatalogUnavailable "HK0204" Transient, "the catalog cannot be reached", "The catalog is locked by another process or out of reach.", "try again; if it stays, look for a process that holds the catalog open";
    CatalogUnknown "HK0205" Transient, "the outcome of a catalog write is not known", "The connection ended between the write and its answer.", "run the command again: it reads what happened and goes on";
    CatalogCorrupt "HK0206" Permanent, "the catalog cannot be read", "The catalog is damaged, or is not a catalog.", "restore the file from a copy; the store's heads/ hold what is needed to rebuild it";
    CatalogNewer "HK0207" Usage, "the catalog was written by a newer Hakiri", "Its format version is above the ones this binary knows.", "use the newer binary";
    CatalogHeld "HK0208" Transient, "another run of this pipeline is under way", "One pipeline has one writer at a time (P3).", "wait for it, or look at `hakiri runs`";
    CatalogClock "HK0209" Permanent, "the clock of this machine is wrong", "It differs from the catalog's by more than 30 seconds. A server whose clock is ahead would read windows before their rows are written.", "set the clock, best by NTP; the server goes on by itself";

    // 03 store
    StoreUnavailable "HK0301" Transient, "the store cannot be reached", "The folder or bucket did not answer.", "check the path or endpoint, the credentials and the network";
    StoreForeign "HK0302" Usage, "this store belongs to another catalog", "Its `_hakiri.json` names another catalog: two catalogs can never govern one store (S11).", "use another path, or the catalog that governs this one";
    StoreUnsafe "HK0303" Usage, "the bucket ignores conditional writes", "A create-only write overwrote an existing object, so that immutability cannot be kept.", "use a store that honours If-None-Match (S3, R2, SeaweedFS 4.48 or newer)";
    StoreFull "HK0304" Permanent, "the disk is full", "The store or the folder for temporary files has no space left. Nothing was committed of this table.", "free some space and run again: committed data is untouched";
    StoreMissing "HK0305" Permanent, "a committed file is missing", "A manifest names a file that the store does not have.", "restore the file, or read the pipeline anew with `hakiri run --full <pipeline>`";
    StoreDamaged "HK0306" Permanent, "a committed file does not have its hash", "The file was changed outside of Hakiri.", "restore the file, or read the pipeline anew with `hakiri run --full <pipeline>`";
    StoreNewer "HK0307" Usage, "the store was written by a newer Hakiri", "Its format version is above the ones this binary knows.", "use the newer binary";
    StoreDenied "HK0308" Permanent, "the store refused access", "The folder's permissions or the bucket's policy do not allow it.", "check the permissions or credentials";
    StoreOther "HK0309" Usage, "the catalog governs another store", "The catalog remembers the folder or bucket that it governs, and the manifest names another one: one catalog governs one store (S11).", "set `[context]` and the project's name back to the store named first, or give the other store its own `[catalog]` path";

    // 04 any source
    SourceUnknownConnector "HK0401" Usage, "the connector is not known", "The binary has no connector of this name.", "use one of the names listed";
    SourceUnknownTable "HK0402" Usage, "the source does not offer this table", "The name is misspelt, or the source has no such table.", "use one of the names listed";
    SourceConfig "HK0403" Usage, "the source's config is wrong", "The connector cannot work with this configuration.", "fix the key shown";
    SourceAuth "HK0404" AuthExpired, "the source refused the credentials", "The credential is wrong, expired or lacks a permission.", "renew the secret";
    SourceLimit "HK0405" Permanent, "a limit of the manifest stopped the read", "The source gave more than `max_rows`, `max_requests` or a size limit allows. Nothing of this table was committed.", "raise the limit if this much is expected";
    SourceChanged "HK0406" Transient, "the source changed while it was read", "Two reads of the same thing differ, so that one consistent result cannot be formed.", "run again when the source is quiet";
    RecordWithoutKey "HK0407" Permanent, "a record has no primary key", "A keyed table needs a value in every primary key column of every record.", "correct the record at the source, choose other `primary_key` columns, or set `on_bad_row = \"skip\"`";
    CursorNull "HK0408" Permanent, "a record has no cursor", "A table in append mode cannot tell whether a record without a cursor was read before.", "use mode = \"merge\" with a primary key, or another cursor column";
    CursorType "HK0409" SchemaIncompatible, "the cursor changed its type", "The cursor column no longer has the type or zone of the committed cursor.", "run `hakiri state reset` for the table, or correct the source";

    // 05 HTTP
    HttpStatus "HK0501" Permanent, "the API answered with an error", "The status of the answer says that the request cannot succeed.", "read the status and the start of the body in the message";
    HttpUnavailable "HK0502" Transient, "the API could not be reached or failed", "No connection, a time-out, or a status that may pass (5xx).", "try again later; the cursor stays where it was";
    HttpRateLimited "HK0503" Kind::RateLimited { seconds: 0 }, "the API asked us to slow down", "Too many requests (429, or 503 with Retry-After).", "wait, or run the pipeline less often";
    HttpNotJson "HK0504" Permanent, "the answer is not JSON", "Often a login page or a proxy's page in HTML.", "check base_url, path and auth";
    HttpShape "HK0505" Permanent, "the answer has another shape than described", "The records, or a value that pagination needs, are not where the manifest says.", "compare `records` and `paginate` with an answer of the API";
    HttpRepeated "HK0506" Permanent, "the API repeated a page or a cursor", "Going on would never end. Nothing of this table was committed.", "check `paginate`: often the parameter's name is not the API's";
    HttpTooLarge "HK0507" Permanent, "an answer is larger than allowed", "Answers are capped so that memory stays bounded (P7).", "ask for smaller pages, or raise max_response_bytes";
    HttpForbiddenAddress "HK0508" Usage, "the address is private", "Loopback, link-local and private addresses are refused unless the manifest allows them.", "set allow_private = true if this host is meant";
    HttpRedirect "HK0509" Permanent, "a redirect was refused", "Too many redirects, or one that leads to another host or from https to http.", "use the final address as base_url";
    HttpTruncated "HK0510" Transient, "an answer ended early", "The connection ended in the middle of an answer.", "try again; the cursor stays where it was";

    // 06 files
    FileNotFound "HK0601" Permanent, "no file matches", "The path or pattern matches nothing.", "check `path`; it is relative to the project's folder";
    FileFormat "HK0602" Usage, "the file's format is not known", "Neither the extension nor `format` says how to read it.", "set format = \"csv\", \"jsonl\", \"json\" or \"parquet\"";
    FileTruncated "HK0603" Permanent, "the compressed file ends early", "A gzip or zstd file is cut off. Nothing of it was committed.", "copy the file again";
    FileEncoding "HK0604" Permanent, "the file is not valid UTF-8", "Text must be UTF-8 unless `encoding` says otherwise.", "convert the file, or set `encoding`";
    FileMalformed "HK0605" Permanent, "the file holds malformed rows", "Rows could not be read and the manifest does not allow to skip them.", "correct the rows shown, or set on_bad_row = \"skip\"";
    FileHeader "HK0606" Permanent, "the file's header cannot be used", "Columns are missing, empty or named twice.", "correct the header, or set `columns`";
    FileBucket "HK0607" Transient, "the bucket with the files cannot be reached", "No connection, a time-out, or an answer that may pass. The cursor stays where it was.", "try again; if it stays, check AWS_ENDPOINT_URL, AWS_REGION and the network";

    // 07 types and schemas
    SchemaFrozen "HK0701" SchemaIncompatible, "the table's schema is frozen", "The records have a new column or a wider type, and the table says schema = \"freeze\".", "set schema = \"evolve\" to accept the change, or \"discard\" to ignore new columns";
    SchemaType "HK0702" SchemaIncompatible, "a column changed to a type that does not fit", "There is no common type of the committed one and the new one.", "correct the source, or run `hakiri run --full` to start a new generation";
    SchemaUnsupported "HK0703" Permanent, "a type is not supported", "The column's type cannot be stored.", "cast the column at the source or in `transform`";
    SchemaKey "HK0704" Permanent, "the primary key or cursor is not a column", "A column named by primary_key or incremental does not exist in the records.", "use the name of an existing column";
    SchemaValue "HK0705" SchemaIncompatible, "a value does not fit its declared type", "The source or the manifest declares a type that this value does not have.", "correct the value or the declared type";
    SchemaName "HK0706" SchemaIncompatible, "a column's name cannot be used", "The name is empty, starts with `_hakiri_`, or differs from another column's only by upper and lower case, which readers do not tell apart.", "rename the column in `transform` or at the source";
    SchemaWide "HK0707" Permanent, "the records have too many columns", "A table holds at most 2,000 columns, and 10,000 with the fields inside them.", "select columns in the source's config, or declare the widest one as \"json\" in `types`";
    RecordShape "HK0708" Permanent, "a record is not a JSON object", "Every record of a table is one JSON object in valid UTF-8 and JSON syntax.", "correct the record at the source, or set on_bad_row = \"skip\"";

    // 08 queries and transforms
    QuerySyntax "HK0801" Usage, "the SQL cannot be understood", "The statement has an error.", "correct the statement at the place shown";
    QueryTable "HK0802" Usage, "there is no such table or column", "The name is misspelt, or the table has no committed run yet.", "use one of the names listed, or run the pipeline first";
    QueryForbidden "HK0803" Usage, "the statement is not allowed", "Queries only read.", "use a single SELECT";
    QueryFailed "HK0804" Permanent, "the query failed", "The statement is valid but could not be carried out.", "read the message";
    TransformInvalid "HK0805" Usage, "the transform is not a row-by-row SELECT", "A transform may project, filter and use immutable functions over `input`, nothing else.", "remove what the message names";
    TransformFailed "HK0806" Permanent, "the transform failed on a row", "A value could not be converted. Nothing of this table was committed.", "use try_cast, or filter the rows";

    // 09 runs
    RunPartial "HK0901" Permanent, "some tables failed", "The other tables were committed; the failed ones keep their cursor and are read again by the next run.", "see the errors of the tables";
    RunFailed "HK0902" Permanent, "the run failed", "No table could be committed.", "see the errors of the tables";
    StepDied "HK0903" Permanent, "the worker of a step died three times", "The process was killed, most often for want of memory.", "give it more memory with --memory, or read less per step";
    RunDeadline "HK0904" Permanent, "the run's deadline passed", "Waiting and retrying took longer than the run may take.", "see what the source was slow with";
    PlanVersion "HK0905" Permanent, "the unfinished run was planned by a newer Hakiri", "Its plan has a version this binary does not know.", "use the newer binary";
    NothingToDo "HK0906" Usage, "no pipeline matches", "The manifest has no pipeline of this name.", "use one of the names listed";
    StateInvalid "HK0907" Usage, "the state cannot be set to this", "The value does not fit the table's cursor.", "see `hakiri state show`";
    CursorAhead "HK0908" Permanent, "the table has been read into the future", "The table's cursor is later than the clock: the clock went back, or a run stood for a later instant. A run now would leave out what changed in between.", "check the clock, then set the cursor back with `hakiri state rewind`";
    MergeChanged "HK0909" Usage, "the table's rows are kept in another way", "The mode, the primary key or the cursor column differs from the one that the stored rows were written with; the two cannot be merged.", "run `hakiri run --full` for the pipeline or `hakiri state reset` for the table, or put the setting back";
    RunCancelled "HK0910" Permanent, "the run was cancelled", "Someone ended the run with `hakiri cancel`. Nothing of it was committed and its tables keep their cursors.", "nothing to do: the next run reads what this one would have read";
    PipelinePaused "HK0911" Usage, "the pipeline is paused", "Someone stopped the pipeline with `hakiri pause`; no new run starts until it is resumed.", "run `hakiri resume` for the pipeline";
    StepCut "HK0912" Permanent, "a step does not end in the time that the platform gives it", "The platform ends a worker after a fixed time (15 minutes on AWS Lambda). The step was cut short before that three times in a row without getting on: a chunk of a database table begins anew each time, and so does the record of an API with everything that is read below it.", "let the pipeline run where no clock ends it (`[deploy.aws] fargate = [\"PIPELINE\"]`), or make its steps smaller: a smaller `chunk_rows` for a database, a more frequent schedule or a shorter window for an API";
    PlanCut "HK0913" Permanent, "a run cannot be planned in the time that the platform gives", "The platform ends a worker after a fixed time (15 minutes on AWS Lambda). Finding the tables of the source, or where the chunks of a large one begin, was not done before that. Nothing was read; the next wake tries again.", "let the pipeline run where no clock ends it (`[deploy.aws] fargate = [\"PIPELINE\"]`), or read fewer tables with a pipeline";

    // 10 PostgreSQL
    PostgresUnreachable "HK1001" Transient, "the PostgreSQL server cannot be reached", "The name is not known, nothing listens there, the server is starting or stopping, or the connection ended.", "check host, port and network, and that the server runs";
    PostgresTls "HK1002" Permanent, "the connection to PostgreSQL cannot be encrypted or verified", "The server has no TLS, or its certificate is not one that the URL's `sslmode` accepts.", "name the server's certificate authority with `sslrootcert=FILE` in the URL, or choose another `sslmode`";
    PostgresAuth "HK1003" AuthExpired, "PostgreSQL refused the credentials", "The user or the password is wrong, or the server does not let this user in from here.", "check the user and the password of the URL, and the server's pg_hba.conf";
    PostgresDenied "HK1004" Permanent, "a right is missing in PostgreSQL", "The user may not use the object that the message names, or the session is read-only.", "have the owner of the object GRANT what is missing";
    PostgresMissing "HK1005" Permanent, "PostgreSQL has no such object", "The database, schema, table, column or function does not exist, or is outside of the user's search path.", "check the name; names are case-sensitive where they were created in quotes";
    PostgresUrl "HK1006" Usage, "the URL of a PostgreSQL database is wrong", "It is not of the form that Hakiri reads.", "write it as postgres://user:password@host:5432/database?sslmode=verify-full";
    PostgresOld "HK1007" Permanent, "the PostgreSQL server is too old", "Hakiri needs PostgreSQL 12 or newer.", "use a newer server";
    PostgresEnded "HK1008" Transient, "PostgreSQL ended the statement", "The server ran out of a resource, waited too long for a lock, met a deadlock, or cancelled the statement.", "try again; if it stays, look at the server's load, limits and time-outs";
    PostgresValue "HK1009" Permanent, "PostgreSQL refused a value", "A value does not fit a type or a constraint. The server's message may quote the value and is not shown.", "see the server's log for the message";
    PostgresRefused "HK1010" Permanent, "PostgreSQL refused the statement", "The server does not carry out this statement.", "read the message and the SQLSTATE";
    PostgresProtocol "HK1011" Permanent, "the answer is not PostgreSQL's", "Something else than a PostgreSQL server answers there, or it speaks another dialect of the protocol.", "check host and port; a proxy in between must pass the PostgreSQL protocol unchanged";
    PostgresType "HK1020" Permanent, "a column's type cannot be read", "The type has no counterpart in Arrow and Parquet. Nothing of this table was read.", "name a type to cast the column to in `casts`, or leave it out with `exclude_columns`";
    PostgresUnstorable "HK1021" SchemaIncompatible, "a value cannot be stored as its column's type", "A NaN in a numeric with digits, a time stamp beyond the range, an array of several dimensions, or text that is not UTF-8. It is never changed to make it fit.", "correct the value, or read the column as text with `casts`";
    PostgresTorn "HK1022" Transient, "the rows from PostgreSQL ended early or cannot be read", "The connection ended in the middle of the rows, or something between changed them. Nothing of this step was kept.", "try again; the cursor stays where it was";

    // 11 serving
    ServeOpen "HK1110" Usage, "the server would be open to others", "The address to listen on can be reached from other machines, and there is no token that says who may look.", "set HAKIRI_TOKEN to a secret of at least 16 characters, or listen on 127.0.0.1";
    ServeToken "HK1111" Usage, "the token is too short", "A token that can be guessed protects nothing.", "set HAKIRI_TOKEN to at least 16 characters, such as the output of `openssl rand -hex 24`";
    ServeListen "HK1112" Usage, "the address cannot be listened on", "Another program uses the port, or the address is not one of this machine.", "stop the other program, or choose another address";
    ServeProbe "HK1113" Permanent, "the server does not answer as healthy", "Nothing listens on the address, or what listens there did not answer `/healthz` with 200 in time.", "start `hakiri serve`, or correct the address";
    WorkerRequest "HK1114" Usage, "the operation's request cannot be read", "What an orchestrator sent is not a request of the contract.", "deploy orchestrator and binary of one release";
    WorkerContract "HK1115" Usage, "the orchestrator speaks another version of the contract", "The orchestrator and the binary are of releases that do not know each other's contract. Nothing was done.", "deploy the newer one of both: `hakiri deploy` with the binary that is in the image";

    // 12 deployment
    DeployTarget "HK1201" Usage, "there is no generator for this target", "Hakiri generates files for the targets that `hakiri deploy --help` lists. It runs on any Linux machine, so that every other cloud is one server (Topology 2) or several (Topology 2.5) there.", "use `hakiri deploy systemd` or `hakiri deploy compose` on machines of that cloud";
    DeployUnsupported "HK1202" Usage, "the target cannot run this project", "The manifest uses something that the target does not support, or a setting that contradicts another. Nothing was written.", "change what the message names, for this deployment alone in `[env.NAME]`";
    DeployEdited "HK1203" Usage, "a file is not as it was generated", "A generated file was changed by hand, or a file that Hakiri did not generate is in the way. Nothing was written.", "look at the difference with --plan; keep the change in the manifest or in a file of its own, or overwrite it with --force";
    DeployLock "HK1204" Usage, "the lock file of the generated files cannot be used", "`.hakiri-deploy.lock` is damaged, belongs to another deployment, or was written by a newer Hakiri.", "use the newer binary or another folder, or delete the lock file and start again with --force";
    DeployApply "HK1205" Usage, "the target is not applied from here", "Files were generated, and nothing else was done: this target is put into effect on the server, by commands that need its administrator.", "run the commands that were printed, on the server";
    DeployTool "HK1206" Usage, "something is missing here that puts the target into effect", "The target is applied by other programs, and one of them is not on the search path; or this binary cannot run there; or a value has no effect there. Nothing was started.", "do what the message says, and run the command again";
    DeployStep "HK1207" Permanent, "a step of putting the target into effect failed", "One of the target's commands did not succeed. What was done before it stays done, and is remembered.", "correct what its last lines say and run the same command again: it goes on with this step";
    DeployUnknown "HK1208" Usage, "what is deployed is not what this folder says", "A deployment is taken away by the names in the manifest and by the files of its folder. Nothing was deployed from this folder, or either was changed since. Nothing was done.", "restore the files and the manifest of what was deployed, or go on by the names of now with --force";
    DevPackages "HK1220" Permanent, "the packages of the local run cannot be installed", "`hakiri dev` needs packages for node or for Python, which npm or pip installs into the cache at first use.", "install node 20 or newer with npm (Cloudflare) or Python 3.10 or newer with venv (AWS), and check that npm or pip reaches its registry";
    DevPlatform "HK1221" Permanent, "the local platform ended", "A part of the platform that `hakiri dev` runs on this machine did not start, or ended by itself.", "look at the lines above; `rm -r .hakiri/dev` starts with an empty state";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info().id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_ordered_and_well_formed() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].info().id < pair[1].info().id, "{} before {}", pair[0], pair[1]);
        }
        for code in Code::ALL {
            let info = code.info();
            assert!(info.id.len() == 6 && info.id.starts_with("HK"), "{info:?}");
            assert!(!info.title.ends_with('.') && !info.remedy.ends_with('.') && info.cause.ends_with('.'), "{info:?}");
        }
    }
}
