module object-server

go 1.22
