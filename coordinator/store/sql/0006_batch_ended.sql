-- With limits for each server a batch has an end in many a commit, and its row is no longer written for each.
COMMENT ON COLUMN pgconvoy.batch.projects_ended IS
  'How many of them have ended, of up to two seconds ago while somebody holds the batch; set by the leader.';
