"""syncd: keeps a contact center's directory in step with its sources and serves it over HTTP.

Glossary of the terms that are specific to syncd:

source            configured origin of contacts of one type: an LDAP subtree or a file
record            entry of a source, decoded and not yet mapped
key               immutable identity of a record within its source
attempt           read of a source from one server; a run makes several if a server fails
evidence          proof that a read is complete, or the reasons why it is not
digest            hash of an entry as received, by which unchanged entries are recognized
fingerprint       hash of everything that determines a stored row; digests are valid for one fingerprint only
run               one execution of a job for a source, recorded with its outcome
job               kind of run: sync, undo or purge
outcome           result of a run: completed, held, incomplete, failed or crashed
stage             temporary table of the mapped records of a run
plan              difference between stage and stored contacts, as a list of changes
change            effect of a run on one contact: add, change, return, miss, remove or purge
plan file         plan of a dry run, which `syncd apply` executes exactly or refuses
reject            record that cannot be mapped; it is quarantined, and its contact is kept unchanged
guard             decision whether the removals of a plan are applied, held or refused
scope             how a source is read: base, filter, map, identity …; a changed scope holds removals
sentinel          contact that must exist in a source, or the read is not trusted
verification      direct search for each missing key before its removal
attribute loss    mapped attribute that entries no longer have; too many losses are held
hold              removal or attribute loss that is not applied until approved or obsolete
approval          decision of an operator that releases exactly one list of holds, once
rejected removal  decision of an operator to keep the contact
grace             time and number of complete runs before an absent contact is removed
missing, removed  states of an absent contact: within its grace, and after it until the purge
retention         time from removed to purged; a contact that reappears before it is purged keeps its id
purge             deletion of removed contacts after their retention
undo              run that reverses an earlier run, from the change log
baseline          key attribute, scope and attributes of a source as of its last accepted run
custom contact    contact that callers create and change over HTTP; no source owns it
revision          number of the directory's state, increased by every committed change
change log        changes of all contacts, with revision, run or caller
change feed       HTTP view of the change log: polling or server-sent events
position          point in the change log up to which a reader of the feed knows the directory
freshness         age of the last complete read of a source; it is stale above `stale_after`
alert             message to operators about a problem: by webhook or mail
drill             fault injection on private servers, to test that the guards hold
"""

__version__ = "0.1.0"
