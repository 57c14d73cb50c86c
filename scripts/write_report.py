from headwise.logs import logged
