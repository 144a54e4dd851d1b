//! The parts that the programs of the race share: the work, the wire, the vendor, the load, and translators.

pub mod bare;
pub mod load;
pub mod raw;
pub mod sockets;
pub mod stub;
pub mod translate;
pub mod work;
