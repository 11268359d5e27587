//! The workers for objects, caches and clusters against real servers: redis-server, and the sandbox's S3 and Kubernetes.

mod objects;
mod redis;
mod shared;
