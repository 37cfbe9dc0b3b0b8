//! Every story of a machine, played against the real image. What is said here is the promise; how
//! it is done is the language's business (`e2e/src`).

mod boot;
mod configuration;
mod crash;
mod cut;
mod extensions;
mod golden_conf;
mod hooks;
mod image_swap;
mod link;
mod login;
mod plain_docker;
mod refusal;
mod resize;
mod rpc;
mod secrets;
mod settings;
mod stop;
mod supervise;
mod volumes;
