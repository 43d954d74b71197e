# add_fuzz(name LINK libs...): fuzz/name_fuzz.cc with seeds in fuzz/corpus/name/.
add_fuzz(body LINK pc_smtp)
add_fuzz(header LINK pc_smtp)
add_fuzz(journal LINK pc_metrics)
add_fuzz(command LINK pc_smtp)
add_fuzz(path LINK pc_smtp)
add_fuzz(params LINK pc_smtp)
add_fuzz(reply LINK pc_smtp)
add_fuzz(sasl LINK pc_smtp)
