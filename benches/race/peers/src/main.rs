//! The programs of the race that use mimalloc: `peers stub|load|raw|plain|translate --key value …`.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;

use race_peers::load::{Callers, Load};
use race_peers::{bare, raw, stub};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let what = words.next().ok_or("which program?")?;
    let mut options = HashMap::new();
    while let Some(key) = words.next() {
        let value = words.next().ok_or_else(|| format!("{key} needs a value"))?;
        options.insert(key, value);
    }
    let option = |key: &str| options.get(key).ok_or_else(|| format!("{what} needs {key}"));
    let listen = || -> Result<SocketAddr, Box<dyn Error>> { Ok(option("--listen")?.parse()?) };
    let vendor = || -> Result<SocketAddr, Box<dyn Error>> { Ok(option("--vendor")?.parse()?) };
    match what.as_str() {
        "stub" => stub::run(listen()?)?,
        "raw" => raw::run(listen()?, vendor()?, raw::Translating::Yes)?,
        "raw-plain" => raw::run(listen()?, vendor()?, raw::Translating::No)?,
        "plain" => bare::run(listen()?, vendor()?, bare::plain)?,
        "translate" => bare::run(listen()?, vendor()?, bare::translate)?,
        "load" => {
            let load = Load {
                target: option("--target")?.parse()?,
                work: option("--work")?.parse()?,
                provider: options.get("--provider").cloned(),
                connections: option("--connections")?.parse()?,
                at_once: option("--at-once")?.parse()?,
                requests: option("--requests")?.parse()?,
                rate: options.get("--rate").map(|rate| rate.parse()).transpose()?,
            };
            let mut callers = Callers::connect(load)?;
            if options.contains_key("--hold") {
                callers.once()?;
                println!("held");
                // A line is the word to go on; the end, that whoever started this has seen enough.
                while std::io::stdin().read_line(&mut String::new())? > 0 {
                    println!("{}", callers.run()?);
                }
            } else {
                println!("{}", callers.run()?);
            }
        }
        other => return Err(format!("there is no program `{other}`").into()),
    }
    Ok(())
}
