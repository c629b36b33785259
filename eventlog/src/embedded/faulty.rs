//! A disk in memory that fills up, fails, and in a crash forgets what was not synced.
//!
//! A crash keeps of each file what was synced, and of the writes and cuts after that an arbitrary selection,
//! each in whole or in part; of each folder it keeps the names as last synced, or as they are.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use super::disk::{Disk, DiskFile};

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct FaultyDisk {
    world: Arc<Mutex<World>>,
}

/// What goes wrong, and what was counted.
pub(crate) struct World {
    root: Node,
    /// How many bytes all files may have together.
    pub(crate) space: u64,
    /// How many syncs fail from now on. That of a folder does what it should all the same.
    pub(crate) failing_syncs: u32,
    /// How many bytes one write takes at most.
    pub(crate) write_limit: usize,
    /// After so many further operations the machine stops.
    pub(crate) operations_left: u64,
    /// Syncs of files so far.
    pub(crate) syncs: u64,
    /// How long a sync of a file takes.
    pub(crate) sync_takes: Duration,
}

#[derive(Clone)]
enum Node {
    File(Arc<Mutex<Content>>),
    Dir(Arc<Mutex<Names>>),
}

#[derive(Default)]
struct Names {
    current: BTreeMap<String, Node>,
    synced: BTreeMap<String, Node>,
}

#[derive(Default)]
struct Content {
    current: Vec<u8>,
    synced: Vec<u8>,
    since: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

struct FaultyFile {
    disk: FaultyDisk,
    content: Arc<Mutex<Content>>,
}

impl FaultyDisk {
    pub(crate) fn new() -> Self {
        let root = Node::Dir(Arc::default());
        Self { world: Arc::new(Mutex::new(World::new(root))) }
    }

    /// Faults and counts.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Stops the machine: whoever still uses this disk gets errors. Returns what the next start finds.
    pub(crate) fn crash(&self, rng: &mut Rng) -> Self {
        let mut world = self.world();
        world.operations_left = 0;
        let root = world.root.after_crash(rng);
        drop(world);
        Self { world: Arc::new(Mutex::new(World::new(root))) }
    }

    fn operate(&self) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.world();
        if world.operations_left == 0 {
            return Err(io::Error::other("the machine has stopped"));
        }
        world.operations_left -= 1;
        Ok(world)
    }

    fn names(&self, dir: &Path) -> io::Result<Arc<Mutex<Names>>> {
        match self.operate()?.root.find(dir) {
            Some(Node::Dir(names)) => Ok(names),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn parent(&self, path: &Path) -> io::Result<(Arc<Mutex<Names>>, String)> {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        Ok((self.names(path.parent().unwrap())?, name))
    }

    fn file(&self, content: Arc<Mutex<Content>>) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile { disk: self.clone(), content })
    }
}

impl World {
    fn new(root: Node) -> Self {
        Self {
            root,
            space: u64::MAX,
            failing_syncs: 0,
            write_limit: usize::MAX,
            operations_left: u64::MAX,
            syncs: 0,
            sync_takes: Duration::ZERO,
        }
    }

    /// How many bytes all files have together.
    pub(crate) fn used(&self) -> u64 {
        self.root.used()
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.failing_syncs == 0 {
            return Ok(());
        }
        self.failing_syncs -= 1;
        Err(io::Error::other("the device does not answer"))
    }

    /// Refuses to let a file grow beyond the space.
    fn grow(&self, from: usize, to: usize) -> io::Result<()> {
        let more = to.saturating_sub(from) as u64;
        if more > 0 && self.space < u64::MAX && self.used() + more > self.space {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Node {
    fn find(&self, path: &Path) -> Option<Node> {
        path.iter().try_fold(self.clone(), |node, name| match node {
            Node::Dir(_) if name == "/" => Some(node),
            Node::Dir(names) => names.lock().unwrap().current.get(&*name.to_string_lossy()).cloned(),
            Node::File(_) => None,
        })
    }

    fn used(&self) -> u64 {
        match self {
            Node::File(content) => content.lock().unwrap().current.len() as u64,
            Node::Dir(names) => names.lock().unwrap().current.values().map(Node::used).sum(),
        }
    }

    fn after_crash(&self, rng: &mut Rng) -> Node {
        match self {
            Node::File(content) => {
                let content = content.lock().unwrap();
                let mut bytes = content.synced.clone();
                for change in &content.since {
                    match change {
                        _ if rng.u8(..3) == 0 => {}
                        Change::Size(size) => bytes.resize(*size, 0),
                        Change::Write(at, written) => {
                            let part = if rng.bool() { written.len() } else { rng.usize(..=written.len()) };
                            let end = at + part;
                            bytes.resize(bytes.len().max(end), 0);
                            bytes[*at..end].copy_from_slice(&written[..part]);
                        }
                    }
                }
                Node::File(Arc::new(Mutex::new(Content {
                    current: bytes.clone(),
                    synced: bytes,
                    since: Vec::new(),
                })))
            }
            Node::Dir(names) => {
                let names = names.lock().unwrap();
                let kept = if rng.bool() { &names.current } else { &names.synced };
                let kept: BTreeMap<_, _> =
                    kept.iter().map(|(name, node)| (name.clone(), node.after_crash(rng))).collect();
                Node::Dir(Arc::new(Mutex::new(Names { current: kept.clone(), synced: kept })))
            }
        }
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut node = self.operate()?.root.clone();
        for name in path.iter().filter(|name| *name != "/") {
            let Node::Dir(names) = node else { return Err(ErrorKind::NotADirectory.into()) };
            let mut names = names.lock().unwrap();
            let name = name.to_string_lossy().into_owned();
            node = names.current.entry(name).or_insert_with(|| Node::Dir(Arc::default())).clone();
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.names(dir)?.lock().unwrap().current.keys().cloned().collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let (names, name) = self.parent(path)?;
        let content = Arc::default();
        names.lock().unwrap().current.insert(name, Node::File(Arc::clone(&content)));
        Ok(self.file(content))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let (names, name) = self.parent(path)?;
        let found = names.lock().unwrap().current.get(&name).cloned();
        match found {
            Some(Node::File(content)) => Ok(self.file(content)),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (names, name) = self.parent(from)?;
        let (new_names, new_name) = self.parent(to)?;
        let node = names.lock().unwrap().current.remove(&name).ok_or(ErrorKind::NotFound)?;
        new_names.lock().unwrap().current.insert(new_name, node);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (names, name) = self.parent(path)?;
        let removed = names.lock().unwrap().current.remove(&name);
        removed.map(drop).ok_or(ErrorKind::NotFound.into())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let names = self.names(path)?;
        let mut names = names.lock().unwrap();
        names.synced = names.current.clone();
        drop(names);
        self.world().sync()
    }
}

impl DiskFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        drop(self.disk.operate()?);
        Ok(self.content.lock().unwrap().current.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        drop(self.disk.operate()?);
        let content = self.content.lock().unwrap();
        let rest = content.current.get(place(at)..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let world = self.disk.operate()?;
        let bytes = &bytes[..bytes.len().min(world.write_limit)];
        let (start, end) = (place(at), place(at) + bytes.len());
        let size = self.content.lock().unwrap().current.len();
        world.grow(size, end)?;
        let mut content = self.content.lock().unwrap();
        content.current.resize(size.max(end), 0);
        content.current[start..end].copy_from_slice(bytes);
        content.since.push(Change::Write(start, bytes.to_vec()));
        Ok(bytes.len())
    }

    fn allocate(&self, _from: u64, to: u64) -> io::Result<()> {
        let world = self.disk.operate()?;
        let size = self.content.lock().unwrap().current.len();
        world.grow(size, place(to))?;
        let mut content = self.content.lock().unwrap();
        content.current.resize(size.max(place(to)), 0);
        content.since.push(Change::Size(size.max(place(to))));
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let world = self.disk.operate()?;
        let before = self.content.lock().unwrap().current.len();
        world.grow(before, place(size))?;
        let mut content = self.content.lock().unwrap();
        content.current.resize(place(size), 0);
        content.since.push(Change::Size(place(size)));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let takes = self.disk.world().sync_takes;
        thread::sleep(takes);
        let mut world = self.disk.operate()?;
        world.syncs += 1;
        world.sync()?;
        let mut content = self.content.lock().unwrap();
        content.synced = content.current.clone();
        content.since.clear();
        Ok(())
    }
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap()
}
