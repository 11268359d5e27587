//! The workers for objects and caches against real servers: redis-server, and the S3 server of the sandbox.

mod checksums;
mod objects;
mod redis;
mod s3_faults;
mod shared;
