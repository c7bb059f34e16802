//! Two transfers at once between the accounts of a bank, in a store that a URL names; then the accounts as a machine with another disk sees them.
//!
//! `cargo run -p smartengine --example bank -- file:///absolute/path`, or `memory://`, or with `--features s3` `s3://bucket/prefix`.

use smartengine::{Engine, Error, ErrorKind, Index, Isolation, LockMode, Options, Result, View};

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let default = format!("file://{}/bank", dir.path().display());
    let accounts = run(&std::env::args().nth(1).unwrap_or(default))?;
    accounts.iter().for_each(|account| println!("{account}"));
    Ok(())
}

/// What the accounts hold after the transfers.
pub fn run(url: &str) -> Result<Vec<String>> {
    let disks = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory"));
    let options = Options::at_url(disks[0].path(), url)?;
    let engine = Engine::open(options.clone())?;
    let accounts = engine.create_index()?;
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.insert(&accounts.key("alice"), &[100])?;
    txn.insert(&accounts.key("bob"), &[100])?;
    txn.commit()?;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| transfer(&engine, accounts, ["alice", "bob"], 30));
        transfer(&engine, accounts, ["bob", "alice"], 10)?;
        other.join().expect("no panic")
    })?;
    engine.close()?;

    let mut elsewhere = options;
    elsewhere.data_dir = disks[1].path().into();
    let engine = Engine::open(elsewhere)?;
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut cursor = txn.cursor(&accounts.all(), View::Snapshot)?;
    let mut found = Vec::new();
    cursor.seek_to_first()?;
    while cursor.valid() {
        let owner = cursor.rest().escape_ascii();
        found.push(format!("{owner}: {}", cursor.value()[0]));
        cursor.next()?;
    }
    Ok(found)
}

/// Moves money. The two lock their accounts in opposite orders: where they meet, one of them has to begin anew.
fn transfer(engine: &Engine, accounts: Index, owners: [&str; 2], amount: i8) -> Result<()> {
    let attempt = || {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        for (owner, change) in owners.into_iter().zip([-amount, amount]) {
            let key = accounts.key(owner);
            txn.lock(&key, LockMode::Exclusive)?;
            let balance = txn.get(&key, View::Newest)?.map_or(0, |row| row[0]);
            let Some(balance) = balance.checked_add_signed(change) else {
                return Err(Error::invalid(format!("{owner} has {balance} only")));
            };
            txn.put(&key, &[balance])?;
        }
        txn.commit()
    };
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::Deadlock => {}
            done => return done,
        }
    }
}
