-- A worker's batch grants or ends most of the rows of a page in one transaction. With room for a second version of each,
-- no index has to be changed for it.
ALTER TABLE pgconvoy.project SET (fillfactor = 45);
ALTER TABLE pgconvoy.attempt SET (fillfactor = 45);
