-- Which event of a group was altered: the link's digest only says that one was.
ALTER TABLE pgconvoy.event_link ADD COLUMN row_sums bytea NOT NULL DEFAULT '';
COMMENT ON COLUMN pgconvoy.event_link.row_sums IS 'XXH3-64 of each event of the group, eight bytes each, in order; empty in links that are older than this column. Only the digest proves anything; these say where to look. Set with the group.';
