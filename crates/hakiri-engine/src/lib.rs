//! The run: begin, step, commit; the store and the bytes in it
