-- Are there records of an entity, whoever they belong to? Reads them all where there are none: asked only of an entity
-- that is gone from the declarations, or has changed its scope.
SELECT EXISTS (SELECT FROM records WHERE substr(entity, strpos(entity, '/') + 1) = $1)
