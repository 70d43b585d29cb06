//! Compiles the three proto classes with protox: no protoc on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["kith/log/v1/log.proto", "kith/client/v1/client.proto", "kith/peer/v1/peer.proto"], ["proto"])?;
    // `bytes` fields share the frame's memory instead of copying it.
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}
