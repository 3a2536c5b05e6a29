//! The constants of writer policy *v1* (S7). They decide bytes: frozen. Any change, a new version of arrow, parquet or
//! zstd included, that alters a frozen fixture is a policy of its own, with its own name and fixtures.

use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{BloomFilterPosition, EnabledStatistics, WriterProperties, WriterVersion};

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

/// What files say of their writer. Not the binary's version: that would change bytes without a reason.
pub(super) const CREATED_BY: &str = "hakiri parquet-v1";

/// Rows handed to the encoder at once, counted from the part's start. The encoder may end a page wherever such a chunk
/// ends, so chunks must not follow the source's batches (S9). Eight mini-batches of the encoder.
pub(super) const CHUNK_ROWS: u64 = 8_192;
/// Logical bytes handed over at once: a bound on the copy that is made of them.
pub(super) const CHUNK_BYTES: u64 = 4 << 20;

/// Rows of a row group: near DuckDB's own 122,880, which it scans on one thread; a multiple of a chunk.
pub(super) const GROUP_ROWS: u64 = 131_072;
/// Logical bytes of a row group: what the encoder holds until a group ends.
pub(super) const GROUP_BYTES: u64 = 32 << 20;

/// Rows of a part.
pub(super) const PART_ROWS: u64 = 1_048_576;
/// Logical bytes of a part: it is held in memory and uploaded in one request, however badly it compresses.
pub(super) const PART_BYTES: u64 = 64 << 20;

/// zstd's own default: the levels above it cost several times the time for a few per cent of size.
const ZSTD_LEVEL: i32 = 3;
/// A page's size before compression: the unit a reader with a filter can skip.
const PAGE_BYTES: usize = 1 << 20;
/// Rows of a page: enough for filters on small columns to skip something.
const PAGE_ROWS: usize = 20_000;
/// Values per step of the encoder, between which it checks page sizes.
const MINI_BATCH: usize = 1_024;
/// A dictionary larger than this does not pay; the column goes on without.
const DICTIONARY_BYTES: usize = 1 << 20;
/// Bounds in statistics are cut to this, so that a 16 MiB text does not stand in the footer.
const BOUND_BYTES: usize = 64;

/// The encoder's settings, every one that reaches bytes spelled out, so that a new default changes nothing.
pub(super) fn properties() -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(|e| Error::new(Code::Internal, format!("parquet: {e}")))?;
    Ok(WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        // Version 1 pages: every reader knows them.
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(level))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(MINI_BATCH)
        .set_dictionary_enabled(true)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_write_page_header_statistics(false)
        .set_statistics_truncate_length(Some(BOUND_BYTES))
        .set_column_index_truncate_length(Some(BOUND_BYTES))
        .set_offset_index_disabled(false)
        // Keys are found by order and statistics; filters would grow every file for a lookup few make.
        .set_bloom_filter_enabled(false)
        .set_bloom_filter_position(BloomFilterPosition::End)
        .set_coerce_types(false)
        .set_write_path_in_schema(true)
        .set_content_defined_chunking(None)
        // Row groups end where the cutter says, nowhere else.
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(None)
        .set_key_value_metadata(None)
        .set_sorting_columns(None)
        .build())
}
