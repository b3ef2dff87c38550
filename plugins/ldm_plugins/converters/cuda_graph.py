def cuda_graph():
    pass
