//! Every story of a machine, played against the real image. What is said here is the promise; how
//! it is done is the language's business (`e2e/src`).

mod block_fork;
mod boot;
mod children;
mod configuration;
mod crash;
mod crash_loop;
mod cut;
mod disk_full;
mod extensions;
mod faults;
mod fork;
mod fork_policy;
mod golden_conf;
mod health;
mod hooks;
mod hosts;
mod image_swap;
mod link;
mod login;
mod object_storage;
mod partitions;
mod plain_docker;
mod power;
mod refusal;
mod resize;
mod rpc;
mod secrets;
mod settings;
mod sink;
mod stop;
mod supervise;
mod tls;
mod volumes;
